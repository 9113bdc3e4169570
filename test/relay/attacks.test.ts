/** What somebody may try against a relay. Each is refused and logged, and a bystander notices nothing. */

import { connect } from 'node:net'
import { describe, expect, test } from 'vitest'
import { createKey, mintToken, publicHalf } from '../../relay/access.ts'
import { bundle, unbundle } from '../../src/net/bundle.ts'
import { DHCP } from '../../src/net/dhcp.ts'
import { formatMac, writeEthernet } from '../../src/net/ethernet.ts'
import type { Guest, GuestOptions } from './guest.ts'
import { type TestRelay, testRelay } from './start.ts'
import {
  arpReply,
  dhcpFrame,
  dnsFrame,
  GATEWAY,
  icmpIn,
  pingFrame,
  readDhcpReply,
  readDnsReply,
  udpFrame,
} from './station.ts'

const lab: GuestOptions = { query: '?room=lab' }
const everybody = { mac: 0xffffffffffff, ip: 0x0a0002ff }

const refusals = (relay: TestRelay) => relay.lines.filter(line => line.level >= 40).map(line => line.reason)

/** A room with a bystander, its friend, and somebody else. */
async function crowd(relay: TestRelay) {
  const [bystander, friend, attacker] = [await relay.connect(lab), await relay.connect(lab), await relay.connect(lab)]
  friend.serve()
  await bystander.dhcp('bystander')
  await friend.dhcp('friend')
  await attacker.dhcp('attacker')
  return { bystander, friend, attacker }
}

/** The bystander still reaches its friend and the gateway, and got no frame it should not have. */
async function unharmed(bystander: Guest, friend: Guest) {
  expect(await bystander.settle()).toEqual([])
  await bystander.ping(friend.end)
  bystander.send(dnsFrame(bystander.end, 'friend.lan'))
  expect(await bystander.next(readDnsReply)).toMatchObject({ rcode: 'NOERROR' })
}

describe('getting in', () => {
  test('a page of another origin', async () => {
    const relay = await testRelay()
    const bystander = await relay.connect({ origin: 'http://localhost:5173' })
    await bystander.dhcp()
    for (const origin of ['https://evil.example', 'http://localhost.evil.example', 'null'])
      await expect(relay.connect({ origin })).rejects.toMatchObject({ status: 403 })
    expect(refusals(relay)).toEqual(['origin', 'origin', 'origin'])
    await bystander.ping()
  })

  test('no token, an expired one, a forged one, a changed one', async () => {
    const key = await createKey()
    const relay = await testRelay({}, { key: publicHalf(key) })
    const bystander = await relay.connect({ query: `?token=${await mintToken(key, { room: 'lab' }, 60)}` })
    await bystander.dhcp()
    const expired = await mintToken(key, { room: 'lab' }, -5)
    const forged = await mintToken(await createKey(), { room: 'lab' }, 60)
    const changed = forged.split('.').with(2, expired.split('.')[2]!).join('.')
    for (const token of ['', expired, forged, changed, 'x'.repeat(4000)])
      await expect(relay.connect({ query: `?token=${token}` })).rejects.toMatchObject({ status: 401 })
    await expect(relay.connect({ query: '?room=lab' })).rejects.toMatchObject({ status: 401 })
    expect(refusals(relay)).toEqual(Array(6).fill('token'))
    expect(JSON.stringify(relay.lines)).not.toContain(expired)
    await bystander.ping()
  })

  test('a room whose name would mean something else to NATS', async () => {
    const relay = await testRelay({ rooms: 'open' })
    for (const room of ['*', '>', 'lab.b', 'lab.>', '~1', '', 'a%20b', 'a%0d%0aPUB'])
      await expect(relay.connect({ query: `?room=${room}` })).rejects.toMatchObject({ status: 400 })
    expect(refusals(relay)).toEqual(Array(8).fill('room'))
  })

  test('requests that never end, and more connections than one address may have', async () => {
    const relay = await testRelay({ maxPerAddress: 8, rooms: 'open' })
    const { bystander, friend } = await crowd(relay)
    const slow = Array.from({ length: 20 }, () => {
      const socket = connect({ port: relay.port, host: '127.0.0.1', localAddress: '127.0.0.2' })
      socket.on('error', () => {})
      socket.write('GET / HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nX-Slow: ')
      const drip = setInterval(() => socket.write('a'), 100)
      const closed = new Promise<void>(resolve => socket.on('close', () => resolve()))
      return { closed: closed.then(() => clearInterval(drip)) }
    })
    await unharmed(bystander, friend)
    await Promise.all(slow.map(({ closed }) => closed))
    expect(refusals(relay).filter(reason => reason === 'address')).toHaveLength(12)
    expect(refusals(relay).filter(reason => reason === 'slow')).toHaveLength(8)
    await unharmed(bystander, friend)
  })

  test('behind a proxy: more connections than one address may have, whatever address a client adds itself', async () => {
    const relay = await testRelay({ maxPerAddress: 1, trustProxy: true })
    const from = (forwarded: string) => relay.connect({ headers: { 'x-forwarded-for': forwarded } })
    const bystander = await from('192.0.2.1')
    await from('192.0.2.2')
    const second = await from('192.0.2.1, 192.0.2.2')
    expect((await second.whenClosed()).code).toBe(1013)
    expect(refusals(relay)).toEqual(['address'])
    await bystander.dhcp()
  })

  test('more clients than the relay takes', async () => {
    const relay = await testRelay({ maxClients: 2 })
    const bystander = await relay.connect()
    await relay.connect()
    await expect(relay.connect()).rejects.toMatchObject({ status: 503 })
    expect(refusals(relay)).toEqual(['full'])
    await bystander.dhcp()
  })
})

describe('posing as somebody else', () => {
  test('taking the MAC address of another: by a frame, and from the first frame on', async () => {
    const relay = await testRelay({ rooms: 'open' })
    const { bystander, friend, attacker } = await crowd(relay)
    attacker.send(pingFrame({ mac: friend.mac, ip: friend.ip }, everybody))
    await attacker.settle()
    const second = await relay.connect({ ...lab, mac: friend.mac })
    second.send(pingFrame(friend.end, everybody))
    second.send(dhcpFrame({ type: DHCP.DISCOVER, mac: friend.mac }))
    await bystander.ping(friend.end)
    expect(second.frames).toEqual([])
    expect(refusals(relay)).toEqual(['mac', 'mac'])
    await unharmed(bystander, friend)
  })

  test('the MAC address of a token, without that token', async () => {
    const key = await createKey()
    const relay = await testRelay({}, { key: publicHalf(key) })
    const query = async (mac?: number) =>
      `?token=${await mintToken(key, { room: 'lab', mac: mac === undefined ? mac : formatMac(mac) }, 60)}`
    const owner = await relay.connect({ query: await query(0x525400000001), mac: 0x525400000001 })
    const thief = await relay.connect({ query: await query(), mac: 0x525400000001 })
    thief.send(dhcpFrame({ type: DHCP.DISCOVER, mac: thief.mac }))
    await owner.dhcp()
    expect(owner.closed).toBeUndefined()
    expect(thief.frames).toEqual([])
    expect(refusals(relay)).toEqual(['mac'])
  })

  test('ARP for the address of another and of the gateway', async () => {
    const relay = await testRelay({ rooms: 'open' })
    const { bystander, friend, attacker } = await crowd(relay)
    for (const ip of [friend.ip, GATEWAY.ip]) {
      attacker.send(arpReply(attacker.mac, ip, bystander.mac, bystander.ip))
      attacker.send(arpReply(attacker.mac, ip, everybody.mac, 0))
    }
    attacker.send(pingFrame({ mac: attacker.mac, ip: friend.ip }, bystander.end))
    await attacker.settle()
    expect(relay.counts.refused.get('arp')).toBe(4)
    expect(relay.counts.refused.get('address')).toBe(1)
    expect(refusals(relay)).toEqual(['arp', 'address'])
    await unharmed(bystander, friend)
  })

  test('answering DHCP, asking for it in the name of another, and taking all addresses', async () => {
    const relay = await testRelay({ rooms: 'open', network: '10.0.2.0/28', framesPerSecond: 10_000 })
    const { bystander, friend, attacker } = await crowd(relay)
    const server = { mac: attacker.mac, ip: attacker.ip, port: 67 }
    attacker.send(udpFrame(server, { ...bystander.end, port: 68 }, new Uint8Array(300)))
    attacker.send(dhcpFrame({ type: DHCP.DISCOVER, mac: attacker.mac, clientMac: 0x020000abcdef }))
    attacker.send(dhcpFrame({ type: DHCP.RELEASE, mac: attacker.mac, clientMac: friend.mac, clientIp: friend.ip }))
    for (let i = 2; i < 15; i++) {
      const requestedIp = GATEWAY.ip - 1 + i
      attacker.send(dhcpFrame({ type: DHCP.REQUEST, mac: attacker.mac, requestedIp, server: GATEWAY.ip }))
      await attacker.next(readDhcpReply)
    }
    attacker.ip = GATEWAY.ip + 13
    expect(relay.counts.refused.get('dhcp')).toBe(3)
    expect(refusals(relay)).toEqual(['dhcp'])
    await unharmed(bystander, friend)
    const late = await relay.connect(lab)
    await late.dhcp()
  })
})

describe('frames that should not be', () => {
  test('runts, giants, VLAN tags, IPv6, spanning tree, text', async () => {
    const relay = await testRelay({ rooms: 'open' })
    const { bystander, friend, attacker } = await crowd(relay)
    const raw = (type: number, length: number) =>
      writeEthernet(everybody.mac, attacker.mac, type, new Uint8Array(length))
    for (const length of [0, 1, 13]) attacker.send(raw(0x0800, 100).subarray(0, length))
    attacker.send(raw(0x0800, 10))
    attacker.send(raw(0x0800, 1503))
    for (const type of [0x8100, 0x88a8, 0x0026, 0x86dd]) attacker.send(raw(type, 60))
    attacker.ws.send('a text')
    await attacker.settle()
    expect(Object.fromEntries(relay.counts.refused)).toEqual({ runt: 4, oversize: 1, ethertype: 3, ipv6: 1, text: 1 })
    expect(refusals(relay)).toEqual(['runt', 'oversize', 'ethertype', 'text'])
    await unharmed(bystander, friend)
  })

  test('a bundle is as good as its frames: each is checked, counted and limited by itself', async () => {
    const relay = await testRelay({ rooms: 'open', framesPerSecond: 500 })
    const { bystander, friend, attacker } = await crowd(relay)
    const ping = pingFrame(attacker.end, bystander.end)
    const stolen = pingFrame({ ...attacker.end, mac: friend.mac }, bystander.end)
    attacker.send(bundle([ping, ping.subarray(0, 13), stolen, bundle([ping]), ping]))
    await attacker.next(frame => unbundle(frame)?.length === 0, 'the relay’s word that it takes bundles')
    await bystander.next(frame => icmpIn(frame)?.type === 8, 'the ping')
    await bystander.next(frame => icmpIn(frame)?.type === 8, 'the other ping')
    expect(Object.fromEntries(relay.counts.refused)).toEqual({ runt: 1, mac: 2 })
    for (let i = 0; i < 100; i++) attacker.send(bundle(Array(50).fill(ping)))
    await bystander.next(() => (relay.counts.refused.get('rate') ?? 0) > 3000, 'the limit')
    await new Promise(resolve => setTimeout(resolve, 200))
    bystander.frames.length = 0
    await unharmed(bystander, friend)
  })

  test('a message larger than any frame ends the connection before it is read', async () => {
    const relay = await testRelay({ rooms: 'open' })
    const { bystander, friend, attacker } = await crowd(relay)
    attacker.send(new Uint8Array(10_000_000))
    expect((await attacker.whenClosed()).code).toBe(1009)
    expect(refusals(relay)).toEqual(['oversize'])
    await unharmed(bystander, friend)
  })

  test('bytes that are no WebSocket end the connection', async () => {
    const relay = await testRelay({ rooms: 'open' })
    const { bystander, friend, attacker } = await crowd(relay)
    const { _socket: socket } = attacker.ws as unknown as { _socket: import('node:net').Socket }
    socket.write(Buffer.from([0xff, 0xff, 0, 1, 2, 3]))
    await attacker.whenClosed()
    expect(refusals(relay)).toEqual(['protocol'])
    await unharmed(bystander, friend)
  })

  test('a storm of broadcasts: all but a few a second are dropped', async () => {
    const relay = await testRelay({ rooms: 'open', broadcastsPerSecond: 20 })
    const { bystander, friend, attacker } = await crowd(relay)
    for (let i = 0; i < 5000; i++) attacker.send(pingFrame(attacker.end, everybody))
    await attacker.settle()
    expect(relay.counts.refused.get('broadcasts')).toBeGreaterThan(4000)
    expect(refusals(relay)).toEqual(['broadcasts'])
    expect((await bystander.settle()).length).toBeLessThan(1000)
    await unharmed(bystander, friend)
  })

  test('more frames or bytes than a client may send', async () => {
    const relay = await testRelay({ rooms: 'open', framesPerSecond: 500 })
    const { bystander, friend, attacker } = await crowd(relay)
    for (let i = 0; i < 5000; i++) attacker.send(pingFrame(attacker.end, bystander.end))
    await bystander.next(() => (relay.counts.refused.get('rate') ?? 0) > 3000, 'the limit')
    expect(refusals(relay)).toEqual(['rate'])
    await new Promise(resolve => setTimeout(resolve, 200))
    bystander.frames.length = 0
    await unharmed(bystander, friend)
  })
})
