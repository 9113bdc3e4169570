/** Any bytes at all: a parser says nothing or something sound, and never throws; what we write we can read. */

import dnsPacket from 'dns-packet'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { dhcpFrame, dnsFrame, GATEWAY, pingFrame } from '../../test/relay/station.ts'
import { readArp, writeArp } from './arp.ts'
import { readDhcp } from './dhcp.ts'
import { encodeName, readDns, writeDns } from './dns.ts'
import { formatMac, parseMac, readEthernet, writeEthernet } from './ethernet.ts'
import { echoReply, prohibited } from './icmp.ts'
import { formatIp, internetChecksum, parseIp, readIpv4, writeIpv4 } from './ipv4.ts'
import { DEFAULT_LAN, LanServices } from './lan-services.ts'
import { PortGuard } from './port-guard.ts'
import { Switch } from './switch.ts'
import { readUdp, writeUdp } from './udp.ts'

const mac = fc.nat(2 ** 31).map(n => n * 65536 + (n % 977))
const ip = fc.nat(2 ** 32 - 1)
const bytes = (max = 1600) => fc.uint8Array({ maxLength: max })
const guest = { mac: 0x020000000001, ip: parseIp('10.0.2.5')! }

/** Sound frames with a few bytes changed and a piece cut off: they get further into a parser than noise does. */
const nearlySound = fc
  .tuple(
    fc.constantFrom(
      dhcpFrame({ type: 1, mac: guest.mac, hostName: 'guest', requestedIp: guest.ip }),
      dhcpFrame({ type: 3, mac: guest.mac, server: GATEWAY.ip }),
      dnsFrame(guest, 'some.name.example'),
      dnsFrame(guest, '5.2.0.10.in-addr.arpa', 'PTR'),
      pingFrame(guest, GATEWAY),
      writeArp(1, { senderMac: guest.mac, senderIp: guest.ip, targetMac: 0, targetIp: GATEWAY.ip }),
    ),
    fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 4 }),
    fc.nat(400),
  )
  .map(([frame, changes, cut]) => {
    const changed = frame.slice(0, cut < frame.length && cut > 300 ? cut : frame.length)
    for (const [at, value] of changes) changed[at % changed.length] = value
    return changed
  })
const anything = fc.oneof(bytes(), nearlySound)

describe('parsers of frames', () => {
  test('Ethernet, ARP, IPv4, UDP, DHCP, DNS and ICMP take any bytes', () => {
    fc.assert(
      fc.property(anything, frame => {
        readEthernet(frame)
        readArp(frame)
        for (const at of [0, 14]) {
          const packet = readIpv4(frame.subarray(at))
          if (packet) {
            expect(packet.payload.length).toBeLessThanOrEqual(frame.length)
            echoReply(packet)
            prohibited(GATEWAY.ip, packet)
          }
          for (const payload of [frame, packet?.payload ?? frame]) {
            const udp = readUdp(payload)
            readDhcp(udp?.payload ?? payload)
            readDns(udp?.payload ?? payload)
          }
        }
        for (const at of [42, 34]) {
          readDhcp(frame.subarray(at))
          readDns(frame.subarray(at))
        }
      }),
      { numRuns: 1000 },
    )
  }, 60_000)

  test('the services, the guard and the switch take any frame', async () => {
    const services = new LanServices(DEFAULT_LAN, { now: () => 0 })
    const guard = new PortGuard(services, guest.mac)
    const lan = new Switch()
    const port = lan.attach({ send() {} })
    lan.attach({ send() {} })
    await fc.assert(
      fc.asyncProperty(anything, async frame => {
        guard.refuse(frame)
        port.receive(frame)
        await services.receive(frame, {
          send: answer => expect(readEthernet(answer)).toMatchObject({ source: GATEWAY.mac }),
          resolve: async () => ({ rcode: 3 }),
        })
      }),
      { numRuns: 1000 },
    )
  }, 60_000)
})

describe('what is written can be read', () => {
  test('Ethernet, IPv4 and UDP', () => {
    fc.assert(
      fc.property(mac, mac, ip, ip, fc.nat(65535), fc.nat(65535), bytes(), (to, from, a, b, p, q, payload) => {
        const packet = writeUdp({ ip: a, port: p }, { ip: b, port: q }, payload)
        const frame = writeEthernet(to, from, 0x0800, packet)
        expect(readEthernet(frame)).toMatchObject({ destination: to, source: from, type: 0x0800 })
        const read = readIpv4(frame.subarray(14))!
        expect(read.header).toMatchObject({ source: a, destination: b, protocol: 17 })
        const udp = readUdp(read.payload)!
        expect(udp.header).toMatchObject({ source: p, destination: q })
        expect([...udp.payload]).toEqual([...payload])
      }),
    )
  })

  test('a damaged IPv4 header is not believed', () => {
    fc.assert(
      fc.property(fc.nat(19), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const packet = writeIpv4(1, 2, 17, new Uint8Array(8))
        packet[at] = packet[at]! ^ flip
        expect(readIpv4(packet)).toBeUndefined()
      }),
    )
  })

  test('addresses as text', () => {
    fc.assert(fc.property(ip, value => parseIp(formatIp(value)) === value))
    fc.assert(fc.property(mac, value => parseMac(formatMac(value)) === value))
    for (const text of ['1.2.3', '1.2.3.4.5', '01.2.3.4', '256.1.1.1', '1.2.3.-4', '0x7f.1.1.1', ' 1.2.3.4', ''])
      expect(parseIp(text)).toBeUndefined()
    for (const text of ['', '52:54:00:12:34', '52:54-00:12:34:56', '525400123456', '52:54:00:12:34:5g'])
      expect(parseMac(text)).toBeUndefined()
  })

  test('a checksum over bytes and their checksum is 0', () => {
    fc.assert(
      fc.property(bytes(), payload => {
        const even = payload.subarray(0, payload.length & ~1)
        const sum = internetChecksum(even)
        expect(internetChecksum(Uint8Array.of(...even, sum >> 8, sum & 255))).toBe(0)
      }),
    )
  })
})

describe('DNS against dns-packet', () => {
  const label = fc.stringMatching(/^[a-z0-9-]{1,20}$/)
  const name = fc.array(label, { minLength: 1, maxLength: 6 }).map(labels => labels.join('.'))

  test('a question it writes is read, an answer we write is read by it', () => {
    fc.assert(
      fc.property(fc.nat(65535), name, ip, (id, name, address) => {
        const wire = dnsPacket.encode({ type: 'query', id, questions: [{ type: 'A', name }] })
        const query = readDns(wire)!
        expect(query).toMatchObject({ id, name, type: 1 })
        const data = Uint8Array.from(formatIp(address).split('.').map(Number))
        const target = { type: 12, ttl: 5, data: encodeName(name) }
        const answer = writeDns(query, { rcode: 0, records: [{ type: 1, ttl: 60, data }, target] })
        expect(dnsPacket.decode(Buffer.from(answer))).toMatchObject({
          id,
          questions: [{ name, type: 'A' }],
          answers: [
            { type: 'A', name, ttl: 60, data: formatIp(address) },
            { type: 'PTR', data: name },
          ],
        })
      }),
    )
  })

  test('answers, several questions, pointers and odd characters are not read as questions', () => {
    const question = { type: 'A', name: 'a.example' } as const
    expect(readDns(dnsPacket.encode({ type: 'response', id: 1, questions: [question] }))).toBeUndefined()
    expect(readDns(dnsPacket.encode({ type: 'query', id: 1, questions: [question, question] }))).toBeUndefined()
    const pointing = dnsPacket.encode({ type: 'query', id: 1, questions: [question] })
    pointing[12] = 0xc0
    expect(readDns(pointing)).toBeUndefined()
    const dotted = dnsPacket.encode({ type: 'query', id: 1, questions: [question] })
    dotted[13] = '.'.charCodeAt(0)
    expect(readDns(dotted)).toBeUndefined()
  })
})
