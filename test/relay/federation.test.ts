import { Kvm } from '@nats-io/kv'
import { connect as connectNats } from '@nats-io/transport-node'
import { describe, expect, test } from 'vitest'
import { createKey, mintToken, publicHalf } from '../../relay/access.ts'
import { joinNats } from '../../relay/federation/federation.ts'
import { Leases } from '../../relay/federation/leases.ts'
import { Counts } from '../../relay/metrics.ts'
import type { Options } from '../../relay/options.ts'
import { DHCP } from '../../src/net/dhcp.ts'
import { formatMac } from '../../src/net/ethernet.ts'
import { formatIp } from '../../src/net/ipv4.ts'
import type { GuestOptions } from './guest.ts'
import { whyNot } from './internet.ts'
import { NatsServer } from './nats-server.ts'
import { closeLater, keepingLog, type TestRelay, testRelay } from './start.ts'
import { arpReply, dhcpFrame, dnsFrame, GATEWAY, pingFrame, readDnsReply } from './station.ts'

const reason = whyNot('nats-server')
if (reason) console.warn(`Relays joined by NATS are NOT tested: ${reason}.`)

const lab: GuestOptions = { query: '?room=lab' }
const everybody = { mac: 0xffffffffffff, ip: 0x0a0002ff }

interface Joined extends TestRelay {
  readonly connected: () => boolean
}

async function joined(
  nats: NatsServer,
  more: Partial<Options> = {},
  key?: Awaited<ReturnType<typeof createKey>>,
): Promise<Joined> {
  const { log, lines } = keepingLog()
  const counts = new Counts()
  const federation = closeLater(await joinNats({ url: nats.url, prefix: 'l2', mtu: 1500 }, counts, log))
  const relay = await testRelay({ rooms: 'open', ...more }, { log, counts, federation, key })
  return { ...relay, lines, connected: () => federation.connected }
}

const natsServer = async (jetStream = true) => closeLater(await NatsServer.start(jetStream))
const until = async (is: () => boolean, what: string, milliseconds = 30_000) => {
  const deadline = Date.now() + milliseconds
  while (!is()) {
    if (Date.now() > deadline) throw new Error(`waited ${milliseconds} ms for ${what}`)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}

describe.skipIf(reason)(`relays joined by NATS${reason ? ` (skipped: ${reason})` : ''}`, () => {
  test('guests of one room on two relays get different addresses, find, ping and resolve each other', async () => {
    const nats = await natsServer()
    const [east, west] = [await joined(nats), await joined(nats)]
    const a = (await east.connect(lab)).serve()
    const b = await west.connect(lab)
    const other = await west.connect({ query: '?room=other' })
    await a.dhcp('web')
    // The same start of the search, since the address depends on the MAC address alone.
    await b.dhcp('client')
    await other.dhcp()
    expect(a.ip).not.toBe(b.ip)
    await b.ping(a.end)
    b.send(dnsFrame(b.end, 'web.lan'))
    expect(await b.next(readDnsReply)).toMatchObject({ answers: [{ data: formatIp(a.ip) }] })
    b.send(pingFrame(b.end, everybody))
    await a.next(frame => frame[0] === 0xff, 'the broadcast')
    expect(await other.settle()).toEqual([])
  })

  test('an address somebody has on one relay is not given out on the other', async () => {
    const nats = await natsServer()
    const [east, west] = [await joined(nats), await joined(nats)]
    const a = await east.connect(lab)
    const ip = await a.dhcp()
    const b = await west.connect(lab)
    b.send(dhcpFrame({ type: DHCP.REQUEST, mac: b.mac, requestedIp: ip, server: GATEWAY.ip }))
    expect((await b.next(frame => frame))[0]).toBe(0xff)
    expect(await b.dhcp()).not.toBe(ip)
    b.send(arpReply(b.mac, ip, everybody.mac, 0))
    await b.settle()
    expect(west.counts.refused.get('arp')).toBe(1)
    expect(await a.settle()).toEqual([])
  })

  test('what has its receiver on the same relay never gets to NATS', async () => {
    const nats = await natsServer()
    const relay = await joined(nats)
    const [a, b] = [(await relay.connect(lab)).serve(), await relay.connect(lab)]
    await a.dhcp()
    await b.dhcp()
    const spy = await connectNats({ servers: nats.url })
    const seen: string[] = []
    spy.subscribe('l2.room.>', { callback: (_, message) => void seen.push(message.subject) })
    await spy.flush()
    for (let i = 0; i < 20; i++) await b.ping(a.end)
    b.send(pingFrame(b.end, everybody))
    await b.settle()
    await until(() => seen.length > 0, 'the broadcast')
    expect(seen).toEqual(['l2.room.lab.b'])
    await spy.close()
  })

  test('a private room stays on its relay', async () => {
    const nats = await natsServer()
    const relay = await joined(nats, { rooms: 'private' })
    const spy = await connectNats({ servers: nats.url })
    let seen = 0
    spy.subscribe('l2.room.>', { callback: () => void seen++ })
    await spy.flush()
    const a = await relay.connect()
    await a.dhcp()
    a.send(pingFrame(a.end, everybody))
    await a.settle()
    await spy.flush()
    expect(seen).toBe(0)
    await spy.close()
  })

  test('the MAC address of a guest on another relay is refused, unless a token gives it', async () => {
    const nats = await natsServer()
    const key = await createKey()
    const [east, west] = [await joined(nats, {}, publicHalf(key)), await joined(nats, {}, publicHalf(key))]
    const query = async (mac?: number) =>
      `?token=${await mintToken(key, { room: 'lab', mac: mac === undefined ? undefined : formatMac(mac) }, 60)}`
    const owner = await east.connect({ query: await query(0x525400000001), mac: 0x525400000001 })
    await owner.dhcp()
    const thief = await west.connect({ query: await query(), mac: owner.mac })
    thief.send(dhcpFrame({ type: DHCP.DISCOVER, mac: thief.mac }))
    expect((await thief.whenClosed()).code).toBe(4002)
    expect(thief.frames).toEqual([])
    expect(west.lines.filter(line => line.reason === 'mac')).toHaveLength(1)
    await owner.ping()
    const again = await west.connect({ query: await query(owner.mac), mac: owner.mac })
    expect((await owner.whenClosed()).code).toBe(4001)
    expect(await again.dhcp()).toBe(owner.ip)
  })

  test('frames somebody else puts on the subjects are refused, and a room’s name cannot name other subjects', async () => {
    const nats = await natsServer()
    const relay = await joined(nats)
    const [a, b] = [(await relay.connect(lab)).serve(), await relay.connect(lab)]
    await a.dhcp()
    await b.dhcp()
    const intruder = await connectNats({ servers: nats.url })
    const word = b.mac.toString(16).padStart(12, '0')
    const strange = { mac: 0x0200deadbeef, ip: 0x0a000263 }
    intruder.publish('l2.room.lab.b', new Uint8Array(3))
    intruder.publish('l2.room.lab.b', new Uint8Array(100_000))
    intruder.publish('l2.room.lab.b', pingFrame(strange, b.end))
    intruder.publish(`l2.room.lab.u.${word}`, pingFrame(strange, a.end))
    intruder.publish(`l2.room.lab.u.${word}`, pingFrame({ ...strange, mac: a.mac }, b.end))
    intruder.publish(`l2.room.lab.u.${word}`, pingFrame({ ...strange, mac: GATEWAY.mac }, b.end))
    await intruder.flush()
    await until(() => relay.counts.refused.get('nats') === 6, 'six refusals')
    expect(await b.settle()).toEqual([])
    await b.ping(a.end)
    for (const room of ['*', '>', 'lab.u', 'lab.>'])
      await expect(relay.connect({ query: `?room=${room}` })).rejects.toMatchObject({ status: 400 })
    await intruder.close()
  })

  test('without NATS rooms are local, which is said; when it is back they are joined again', async () => {
    const nats = await natsServer()
    const [east, west] = [await joined(nats), await joined(nats)]
    const a = (await east.connect(lab)).serve()
    const b = await west.connect(lab)
    const c = await west.connect(lab)
    await a.dhcp()
    await b.dhcp()
    await b.ping(a.end)
    await nats.kill()
    await until(() => !west.connected() && !east.connected(), 'the loss to be noticed')
    expect(await (await fetch(`http://127.0.0.1:${west.port}/readyz`)).text()).toContain('cannot be reached')
    expect(west.lines.map(line => line.msg)).toContain('NATS is lost: rooms are local until it is back')
    await c.dhcp()
    c.serve()
    await b.ping(c.end)
    await nats.run()
    await until(() => west.connected() && east.connected(), 'NATS to be back')
    await b.ping(a.end)
    // What was known of the other relay's addresses was still respected without it.
    expect(new Set([a.ip, b.ip, c.ip]).size).toBe(3)
  })

  test('the claims of a relay that was killed do not keep its guests out elsewhere', async () => {
    const nats = await natsServer()
    const east = await joined(nats)
    // What is left of a relay that is no more: its claim, and nobody who answers for it.
    const other = await connectNats({ servers: nats.url })
    const bucket = await new Kvm(other).open('l2-leases')
    const guest = await east.connect(lab)
    const mac = guest.mac.toString(16).padStart(12, '0')
    await bucket.create(`lab.mac.${mac}`, JSON.stringify({ node: 'gone', mac }))
    await guest.dhcp()
    await other.close()
  })

  test('a claim is renewed while it is needed, made again where it lapsed, and given back afterwards', async () => {
    const nats = await natsServer()
    const connection = closeLater(await connectNats({ servers: nats.url }))
    const leases = new Leases(connection, 'l2', 'east', keepingLog().log)
    await leases.open()
    const key = 'lab.ip.0a000205'
    const claim = { node: 'east', mac: '020000000001' }
    expect(await leases.claim({ key, claim, mayTake: () => false, lost() {} })).toBe(true)
    const bucket = await new Kvm(connection).open('l2-leases')
    const { revision } = (await bucket.get(key))!
    await leases.renew(() => true)
    expect((await bucket.get(key))!.revision).toBeGreaterThan(revision)
    await bucket.purge(key)
    await leases.renew(() => true)
    expect(await bucket.get(key)).toMatchObject({ operation: 'PUT' })
    await leases.renew(() => false)
    await expect.poll(async () => (await bucket.get(key))?.operation).toBe('DEL')
  })

  test('claims that no relay makes are refused, and those of relays are followed as before', async () => {
    const nats = await natsServer()
    const [east, west] = [await joined(nats), await joined(nats)]
    const b = await west.connect(lab)
    await b.dhcp()
    const intruder = await connectNats({ servers: nats.url })
    const bucket = await new Kvm(intruder).open('l2-leases')
    await bucket.put('lab.ip.0a000263', 'no JSON')
    await bucket.put('lab.ip.0a000264', JSON.stringify({ node: '>', mac: 'x', name: 'a b' }))
    await bucket.put('lab.ip.0a000201', JSON.stringify({ node: 'other', mac: '0200deadbeef' }))
    await until(() => west.counts.refused.get('nats') === 3, 'three refusals')
    const a = (await east.connect(lab)).serve()
    await a.dhcp('web')
    await b.ping(a.end)
    await b.ping()
    const answer = async () => {
      b.send(dnsFrame(b.end, 'web.lan'))
      return b.next(readDnsReply)
    }
    await expect.poll(answer).toMatchObject({ rcode: 'NOERROR' })
    await intruder.close()
  })

  test('a start without NATS is a start alone, and one without JetStream is refused with what is needed', async () => {
    const bare = await natsServer(false)
    await expect(joined(bare)).rejects.toThrow('nats-server --jetstream')
    const late = await natsServer()
    await late.kill()
    const relay = await joined(late)
    expect(relay.connected()).toBe(false)
    const guest = await relay.connect(lab)
    await guest.dhcp()
    await late.run()
    await until(() => relay.connected(), 'NATS')
    await guest.ping()
  })
})
