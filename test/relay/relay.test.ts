import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { createKey, mintToken, publicHalf } from '../../relay/access.ts'
import { formatMac } from '../../src/net/ethernet.ts'
import { formatIp } from '../../src/net/ipv4.ts'
import { freePort } from './nats-server.ts'
import { testRelay } from './start.ts'
import { dnsFrame, GATEWAY, icmpIn, pingFrame, readDnsReply } from './station.ts'

const http = (relay: { port: number }, path: string) => fetch(`http://127.0.0.1:${relay.port}${path}`)

describe('a room', () => {
  test('gives an address, answers ARP and ping, and says at once that there is no way out', async () => {
    const relay = await testRelay()
    const guest = await relay.connect()
    expect(formatIp(await guest.dhcp())).toMatch(/^10\.0\.2\.\d+$/)
    expect(await guest.resolve(GATEWAY.ip)).toBe(GATEWAY.mac)
    await guest.ping()
    guest.send(pingFrame(guest.end, { mac: GATEWAY.mac, ip: 0x01010101 }))
    await guest.next(frame => icmpIn(frame)?.code === 13, 'a refusal')
  })

  test('is private unless told otherwise, even for clients that name the same one', async () => {
    const relay = await testRelay()
    const a = await relay.connect({ query: '?room=lab' })
    const b = await relay.connect({ query: '?room=lab' })
    await a.dhcp('a')
    await b.dhcp('b')
    b.send(dnsFrame(b.end, 'a.lan'))
    const reply = await b.next(readDnsReply)
    expect(reply).toMatchObject({ rcode: 'NXDOMAIN' })
    a.send(pingFrame(a.end, { mac: 0xffffffffffff, ip: 0x0a0002ff }))
    await a.settle()
    expect(await b.settle()).toEqual([])
  })

  test('where rooms are open, guests of one find, ping and resolve each other', async () => {
    const relay = await testRelay({ rooms: 'open' })
    const a = (await relay.connect({ query: '?room=lab' })).serve()
    const b = await relay.connect({ query: '?room=lab' })
    const other = await relay.connect({ query: '?room=other' })
    await a.dhcp('web')
    await b.dhcp()
    await other.dhcp()
    b.send(dnsFrame(b.end, 'web.lan'))
    expect(await b.next(readDnsReply)).toMatchObject({ answers: [{ data: formatIp(a.ip) }] })
    await b.ping(a.end)
    expect(await other.settle()).toEqual([])
  })

  test('a token names the room, the MAC address and the limits', async () => {
    const key = await createKey()
    const relay = await testRelay({}, { key: publicHalf(key) })
    const mac = 0x525400000001
    const token = await mintToken(key, { room: 'lab', mac: formatMac(mac) }, 60)
    const a = await relay.connect({ query: `?token=${token}`, mac })
    const b = await relay.connect({ protocols: ['ringlet', await mintToken(key, { room: 'lab' }, 60)] })
    expect(b.ws.protocol).toBe('ringlet')
    a.serve()
    await a.dhcp()
    await b.dhcp()
    await b.ping(a.end)
  })

  test('a token’s limits come before the relay’s, and only one that says so lets its bearer out', async () => {
    const key = await createKey()
    const out: Uint8Array[] = []
    const outside = {
      open: () => ({ send: (frame: Uint8Array) => void out.push(frame), close() {} }),
      resolve: async () => ({ rcode: 3 }),
    }
    const relay = await testRelay({}, { key: publicHalf(key), outside })
    const as = async (grant: Parameters<typeof mintToken>[1]) => {
      const guest = await relay.connect({ query: `?token=${await mintToken(key, grant, 60)}` })
      await guest.dhcp()
      return guest
    }
    const [held, free] = [await as({}), await as({ egress: true })]
    for (const guest of [held, free]) guest.send(pingFrame(guest.end, { mac: GATEWAY.mac, ip: 0x01010101 }))
    await held.next(frame => icmpIn(frame)?.code === 13, 'a refusal')
    await free.settle()
    expect(out).toHaveLength(1)

    const slow = await as({ framesPerSecond: 10 })
    for (let i = 0; i < 200; i++) slow.send(pingFrame(slow.end, GATEWAY))
    await expect.poll(() => relay.counts.refused.get('rate') ?? 0).toBeGreaterThan(100)
  })

  test('with the same MAC address by its token, a newer connection replaces the older one', async () => {
    const key = await createKey()
    const relay = await testRelay({}, { key: publicHalf(key) })
    const mac = 0x525400000001
    const query = `?token=${await mintToken(key, { room: 'lab', mac: formatMac(mac) }, 60)}`
    const first = await relay.connect({ query, mac })
    const address = await first.dhcp()
    const second = await relay.connect({ query, mac })
    expect((await first.whenClosed()).code).toBe(4001)
    expect(await second.dhcp()).toBe(address)
  })

  test('a guest that comes back, to a relay that knows nothing of it, goes on with its address', async () => {
    const first = await testRelay()
    const guest = await first.connect()
    const ip = await guest.dhcp()
    const second = await testRelay()
    const again = await second.connect({ mac: guest.mac })
    again.ip = ip
    await again.ping()
  })
})

describe('running it', () => {
  test('health, readiness and metrics', async () => {
    const relay = await testRelay()
    const guest = await relay.connect()
    await guest.dhcp()
    expect(await (await http(relay, '/healthz')).text()).toBe('alive\n')
    expect((await http(relay, '/readyz')).status).toBe(200)
    expect((await http(relay, '/nothing')).status).toBe(404)
    const metrics = await (await http(relay, '/metrics')).text()
    expect(metrics).toMatch(/^ringlet_relay_clients 1$/m)
    expect(metrics).toMatch(/^ringlet_relay_frames_received_total 2$/m)
    expect(metrics).toMatch(/^ringlet_relay_frames_sent_total 2$/m)
    expect(metrics).toMatch(/^ringlet_relay_federated 0$/m)

    guest.ws.send('a text')
    await guest.ping()
    await expect(relay.connect({ origin: 'https://evil.example' })).rejects.toMatchObject({ status: 403 })
    const later = await (await http(relay, '/metrics')).text()
    expect(later).toMatch(/^ringlet_relay_frames_refused_total\{reason="text"\} 1$/m)
    expect(later).toMatch(/^ringlet_relay_connections_rejected_total\{reason="origin"\} 1$/m)
  })

  test('a drain is announced, lets nobody in, and sends everybody away', async () => {
    const relay = await testRelay({ drainSeconds: 1 })
    const guests = await Promise.all([relay.connect(), relay.connect(), relay.connect()])
    const closing = relay.close()
    await expect(relay.connect()).rejects.toMatchObject({ status: 503 })
    expect((await http(relay, '/readyz')).status).toBe(503)
    for (const guest of guests) expect((await guest.whenClosed()).code).toBe(1001)
    await closing
  })

  test('it goes on, and stops when it is told to, though nobody reads its log any more', async () => {
    const port = await freePort()
    const relay = `"${process.execPath}" --import tsx relay/main.ts --listen 127.0.0.1:${port} --drain-seconds 0`
    const child = spawn('bash', ['-c', `exec ${relay} > >(head -c 1 > /dev/null)`], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    const exit = once(child, 'exit')
    const kill = setTimeout(() => child.kill('SIGKILL'), 60_000)
    while (!(await http({ port }, '/healthz').catch(() => undefined))?.ok) await sleep(50)
    child.kill('SIGTERM')
    expect(await exit).toEqual([0, null])
    clearTimeout(kill)
  })

  test('a client that answers no ping is disconnected', async () => {
    const relay = await testRelay({ idleSeconds: 1 })
    const alive = await relay.connect()
    const dead = await relay.connect({ autoPong: false })
    await once(dead.ws, 'close')
    expect(relay.lines.map(line => line.msg)).toContain('client silent for too long')
    await alive.dhcp()
  })

  test('who reads slowly loses frames, counted; who reads fast loses none', async () => {
    const relay = await testRelay({ rooms: 'open', queueBytes: 65_536, broadcastsPerSecond: 1e6 })
    const [sender, slow, fast] = await Promise.all([1, 2, 3].map(() => relay.connect({ query: '?room=lab' })))
    await sender!.dhcp()
    await fast!.dhcp()
    slow!.ws.pause()
    const frame = pingFrame(sender!.end, { mac: 0xffffffffffff, ip: 0x0a0002ff }, 1400)
    const count = 8000
    // Few enough on their way at once that the one who reads fast is not slow.
    for (let sent = 0; sent < count; sent += 32) {
      for (let i = 0; i < 32; i++) sender!.send(frame)
      await sender!.ping()
    }
    expect(relay.counts.dropped.get('queue')).toBeGreaterThan(0)
    expect((await fast!.settle()).length).toBe(count)
    slow!.ws.resume()
    expect(slow!.frames.length).toBeLessThan(count)
  })
})
