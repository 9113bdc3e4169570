import { beforeEach, describe, expect, test } from 'vitest'
import {
  arpIn,
  arpReply,
  arpRequest,
  dhcpFrame,
  dnsFrame,
  GATEWAY,
  icmpIn,
  obtainAddress,
  pingFrame,
  readDhcpReply,
  readDnsReply,
} from '../../test/relay/station.ts'
import { DHCP, OPTION } from './dhcp.ts'
import { DNS, RCODE } from './dns.ts'
import { BROADCAST_MAC, readEthernet } from './ethernet.ts'
import { formatIp, parseIp } from './ipv4.ts'
import { type AddressClaims, DEFAULT_LAN, LanServices, type Station } from './lan-services.ts'

const A = 0x020000000001
const B = 0x020000000002
const ip = (text: string) => parseIp(text)!

let now = 0
let services: LanServices
const clock = { now: () => now }

/** Frames to a station, in answer to one of its own. */
async function answers(frame: Uint8Array, more: Partial<Station> = {}) {
  const sent: Uint8Array[] = []
  const taken = services.receive(frame, { send: frame => sent.push(frame), ...more })
  await taken
  return { taken: taken !== false, sent }
}
const ask = async (frame: Uint8Array) => (await answers(frame)).sent[0]!
const dhcp = async (message: Parameters<typeof dhcpFrame>[0]) => {
  const { sent } = await answers(dhcpFrame(message))
  return sent[0] && readDhcpReply(sent[0])
}

beforeEach(() => {
  now = 0
  services = new LanServices(DEFAULT_LAN, clock)
})

describe('addresses by DHCP', () => {
  test('a station is offered an address and then has it', async () => {
    const offer = (await dhcp({ type: DHCP.DISCOVER, mac: A }))!
    expect(offer.type).toBe(DHCP.OFFER)
    expect(services.isStation(offer.ip)).toBe(true)
    const ack = (await dhcp({ type: DHCP.REQUEST, mac: A, requestedIp: offer.ip, server: GATEWAY.ip }))!
    expect(ack).toMatchObject({ type: DHCP.ACK, ip: offer.ip })
    expect(ack.options.get(OPTION.SUBNET_MASK)).toEqual([255, 255, 255, 0])
    expect(ack.options.get(OPTION.ROUTER)).toEqual([10, 0, 2, 1])
    expect(ack.options.get(OPTION.DNS)).toEqual([10, 0, 2, 1])
    expect(ack.options.get(OPTION.MTU)).toEqual([5, 220])
    expect(ack.options.get(OPTION.LEASE_TIME)).toEqual([0, 0, 14, 16])
  })

  test('everybody gets another address until there is none left, and one comes back after its lease', async () => {
    services = new LanServices({ ...DEFAULT_LAN, prefix: 29 }, clock)
    const given = new Set<number>()
    for (let i = 0; i < 5; i++) given.add(await obtainAddress(A + i * 256, ask))
    expect([...given].map(formatIp).sort()).toEqual(['10.0.2.2', '10.0.2.3', '10.0.2.4', '10.0.2.5', '10.0.2.6'])
    expect(await dhcp({ type: DHCP.DISCOVER, mac: B })).toBeUndefined()
    now += DEFAULT_LAN.leaseSeconds * 1000
    expect(await dhcp({ type: DHCP.DISCOVER, mac: B })).toMatchObject({ type: DHCP.OFFER })
  })

  test('a station keeps its address when it asks again, and gets back the one it asks for if that is free', async () => {
    const first = await obtainAddress(A, ask)
    expect(await obtainAddress(A, ask)).toBe(first)
    const wish = ip('10.0.2.77')
    expect(await dhcp({ type: DHCP.DISCOVER, mac: B, requestedIp: wish })).toMatchObject({ ip: wish })
    expect(await dhcp({ type: DHCP.DISCOVER, mac: 0x020000000003, requestedIp: wish })).not.toMatchObject({ ip: wish })
  })

  test('a station may not have what is not of the LAN, what is ours, or what is somebody else’s', async () => {
    const taken = await obtainAddress(A, ask)
    for (const wanted of [taken, GATEWAY.ip, ip('10.0.2.0'), ip('10.0.2.255'), ip('192.168.1.5')])
      expect(await dhcp({ type: DHCP.REQUEST, mac: B, requestedIp: wanted })).toMatchObject({ type: DHCP.NAK })
  })

  test('a request to another server is left alone', async () => {
    expect(await dhcp({ type: DHCP.REQUEST, mac: A, requestedIp: 1, server: ip('10.0.2.9') })).toBeUndefined()
  })

  test('a station that asks for one address after another keeps only the last', async () => {
    for (let i = 20; i < 60; i++)
      await dhcp({ type: DHCP.REQUEST, mac: A, requestedIp: ip(`10.0.2.${i}`), server: GATEWAY.ip })
    expect(services.addresses.of(A).map(lease => formatIp(lease.ip))).toEqual(['10.0.2.59'])
  })

  test('an address is free again once released, and only its station can release it', async () => {
    const address = await obtainAddress(A, ask)
    await dhcp({ type: DHCP.RELEASE, mac: B, clientIp: address })
    expect(services.addresses.at(address)?.mac).toBe(A)
    await dhcp({ type: DHCP.RELEASE, mac: A, clientIp: address })
    expect(services.addresses.at(address)).toBeUndefined()
  })

  test('an address a station found in use is not given out again at once', async () => {
    const address = await obtainAddress(A, ask)
    await dhcp({ type: DHCP.DECLINE, mac: A, requestedIp: address })
    expect(await obtainAddress(A, ask)).not.toBe(address)
  })

  test('where another place grants addresses, what it denies is not offered and not acknowledged', async () => {
    const denied = new Set<number>()
    const claims: AddressClaims = { claim: async lease => !denied.has(lease.ip) }
    services = new LanServices(DEFAULT_LAN, clock, claims)
    const first = (await dhcp({ type: DHCP.DISCOVER, mac: A }))!.ip
    denied.add(first)
    expect(await dhcp({ type: DHCP.REQUEST, mac: A, requestedIp: first })).toMatchObject({ type: DHCP.NAK })
    expect((await dhcp({ type: DHCP.DISCOVER, mac: A }))!.ip).not.toBe(first)
  })

  test('an address set by hand is admitted if it is free, for a few addresses', () => {
    expect(services.admit(ip('10.0.2.50'), A)).toBe(true)
    expect(services.admit(ip('10.0.2.50'), B)).toBe(false)
    expect(services.admit(GATEWAY.ip, A)).toBe(false)
    expect(services.admit(ip('8.8.8.8'), A)).toBe(false)
    for (let i = 51; i < 54; i++) expect(services.admit(ip(`10.0.2.${i}`), A)).toBe(true)
    expect(services.admit(ip('10.0.2.60'), A)).toBe(false)
  })

  test('a station that leaves keeps its address for as long as was said', async () => {
    const address = await obtainAddress(A, ask)
    services.leave(A, 60)
    expect(services.admit(address, B)).toBe(false)
    now += 60_000
    expect(services.admit(address, B)).toBe(true)
  })
})

describe('ARP and ping', () => {
  test('the gateway answers for itself, and leaves other questions to the LAN', async () => {
    const { sent } = await answers(arpRequest(A, ip('10.0.2.5'), GATEWAY.ip))
    expect(arpIn(sent[0]!)).toMatchObject({ operation: 2, senderIp: GATEWAY.ip, senderMac: GATEWAY.mac, targetMac: A })
    expect(await answers(arpRequest(A, ip('10.0.2.5'), ip('10.0.2.6')))).toEqual({ taken: false, sent: [] })
    expect(await answers(arpReply(A, ip('10.0.2.5'), B, ip('10.0.2.6')))).toEqual({ taken: false, sent: [] })
  })

  test('a ping comes back with its payload and a sound checksum', async () => {
    const { sent } = await answers(pingFrame({ mac: A, ip: ip('10.0.2.5') }, GATEWAY, 1000))
    const pong = icmpIn(sent[0]!)!
    expect(pong).toMatchObject({ type: 0, code: 0, sound: true })
    expect(pong.payload.subarray(8).every(byte => byte === 0x61)).toBe(true)
    expect(readEthernet(sent[0]!)).toMatchObject({ destination: A, source: GATEWAY.mac })
  })

  test('what is for another station is none of ours', async () => {
    const frame = pingFrame({ mac: A, ip: ip('10.0.2.5') }, { mac: B, ip: ip('10.0.2.6') })
    expect(await answers(frame)).toEqual({ taken: false, sent: [] })
  })

  test('a packet for outside goes by the way out; without one the sender is told at once', async () => {
    const frame = pingFrame({ mac: A, ip: ip('10.0.2.5') }, { mac: GATEWAY.mac, ip: ip('203.0.113.9') })
    const outside: Uint8Array[] = []
    expect((await answers(frame, { out: frame => outside.push(frame) })).sent).toEqual([])
    expect(outside).toEqual([frame])
    const { sent } = await answers(frame)
    const error = icmpIn(sent[0]!)!
    expect(error).toMatchObject({ type: 3, code: 13, sound: true })
    expect(error.payload.subarray(8, 28)).toEqual(frame.subarray(14, 34))
  })
})

describe('names by DNS', () => {
  const guest = { mac: A, ip: ip('10.0.2.5') }
  const reply = async (frame: Uint8Array, more?: Partial<Station>) =>
    readDnsReply((await answers(frame, more)).sent[0]!) as ReturnType<typeof readDnsReply> & { rcode: string }

  test('a station is found by the name it gave, with and without the domain, whatever the case', async () => {
    const address = await obtainAddress(B, ask, 'Web-1')
    for (const name of ['web-1.lan', 'WEB-1.LAN', 'web-1']) {
      const { answers, rcode } = await reply(dnsFrame(guest, name))
      expect({ rcode, data: answers?.map(a => 'data' in a && a.data) }).toEqual({
        rcode: 'NOERROR',
        data: [formatIp(address)],
      })
    }
  })

  test('the gateway is gateway.lan, and addresses have names', async () => {
    expect((await reply(dnsFrame(guest, 'gateway.lan'))).answers).toMatchObject([{ type: 'A', data: '10.0.2.1' }])
    const pointer = await reply(dnsFrame(guest, '1.2.0.10.in-addr.arpa', 'PTR'))
    expect(pointer.answers).toMatchObject([{ type: 'PTR', data: 'gateway.lan' }])
  })

  test('a name of nobody does not exist, and a known one has no IPv6 address', async () => {
    expect((await reply(dnsFrame(guest, 'nobody.lan'))).rcode).toBe('NXDOMAIN')
    expect(await reply(dnsFrame(guest, 'gateway.lan', 'AAAA'))).toMatchObject({ rcode: 'NOERROR', answers: [] })
  })

  test('a name belongs to who had it first, and nobody is called gateway', async () => {
    const first = await obtainAddress(A, ask, 'web')
    await obtainAddress(B, ask, 'web')
    await obtainAddress(0x020000000003, ask, 'gateway')
    expect((await reply(dnsFrame(guest, 'web.lan'))).answers).toMatchObject([{ data: formatIp(first) }])
    expect((await reply(dnsFrame(guest, 'gateway.lan'))).answers).toMatchObject([{ data: '10.0.2.1' }])
  })

  test('other names are asked of the way out, or refused where there is none', async () => {
    expect((await reply(dnsFrame(guest, 'example.org'))).rcode).toBe('REFUSED')
    const resolve = async (name: string, type: number) => ({
      rcode: RCODE.OK,
      records: [{ type, ttl: 60, data: Uint8Array.of(192, 0, 2, name.length) }],
    })
    const { answers } = await reply(dnsFrame(guest, 'Example.org'), { resolve })
    expect(answers).toMatchObject([{ type: 'A', name: 'Example.org', ttl: 60, data: '192.0.2.11' }])
    expect((await reply(dnsFrame(guest, 'example.org', 'MX'), { resolve })).rcode).toBe('NOTIMP')
  })

  test('an answer never outgrows 512 bytes', async () => {
    const records = Array.from({ length: 100 }, () => ({ type: DNS.A, ttl: 1, data: Uint8Array.of(1, 2, 3, 4) }))
    const { sent } = await answers(dnsFrame(guest, 'many.example'), { resolve: async () => ({ rcode: 0, records }) })
    expect(sent[0]!.length).toBeLessThanOrEqual(14 + 20 + 8 + 512)
    expect(readDnsReply(sent[0]!)!.answers!.length).toBeGreaterThan(20)
  })
})

test('a broadcast that is not for the services is left to the LAN', async () => {
  const frame = new Uint8Array(60).fill(0xff, 0, 6)
  expect(readEthernet(frame)!.destination).toBe(BROADCAST_MAC)
  expect(await answers(frame)).toEqual({ taken: false, sent: [] })
})
