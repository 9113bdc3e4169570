import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { nameServer, openEgress } from '../../relay/egress/egress.ts'
import { EgressPolicy } from '../../relay/egress/policy.ts'
import { Counts } from '../../relay/metrics.ts'
import { checkOptions } from '../../relay/options.ts'
import { lanSettings } from '../../relay/server.ts'
import { parseIp } from '../../src/net/ipv4.ts'
import type { Guest } from './guest.ts'
import { FORBIDDEN, HTTP_PORT, type Internet, MB, makeInternet, PUBLIC, pattern, whyNot } from './internet.ts'
import { RelayProcess } from './process.ts'
import { closeLater, keepingLog, type TestRelay, testRelay } from './start.ts'
import { dnsFrame, GATEWAY, icmpIn, pingFrame, readDnsReply } from './station.ts'
import { download } from './tcp.ts'

const reason = whyNot('ip', 'nft', 'passt')
if (reason) console.warn(`The way out of the relay is NOT tested: ${reason}.`)

const ip = (text: string) => parseIp(text)!
const names = {
  'good.example': [PUBLIC],
  'trap.example': ['10.66.0.1'],
  'loop.example': ['127.0.0.1'],
  'mixed.example': ['169.254.169.254', PUBLIC],
  'other.example': [PUBLIC],
}

async function relayWithEgress(...allow: string[]): Promise<TestRelay> {
  const { log, lines } = keepingLog()
  const counts = new Counts()
  const policy = new EgressPolicy(allow, () => performance.now())
  const egress = openEgress(policy, lanSettings(checkOptions({})), nameServer([PUBLIC]), counts, log)
  closeLater(egress)
  const relay = await testRelay({}, { log, counts, outside: egress })
  return { ...relay, lines }
}

async function guestOn(relay: TestRelay) {
  const guest = await relay.connect()
  await guest.dhcp()
  return guest
}

const get = async (guest: Guest, address: string, port = HTTP_PORT, patience?: number) => {
  let text = ''
  const read = (bytes: Uint8Array) => {
    text += Buffer.from(bytes).toString('latin1')
  }
  await download(guest, ip(address), port, '/hello', read, patience)
  return text
}
/** Nothing comes of it. */
const cannotGet = (guest: Guest, address: string, port = HTTP_PORT) =>
  expect(get(guest, address, port, 2000), address).rejects.toThrow(/silence|refused|unreachable/)
const lookup = async (guest: Guest, name: string) => {
  guest.send(dnsFrame(guest.end, name))
  return guest.next(readDnsReply, `the address of ${name}`)
}

describe.skipIf(reason)(`the way out of the relay${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let internet: Internet
  beforeAll(async () => {
    internet = await makeInternet(names)
  }, 300_000)
  afterAll(() => internet?.close())

  test('a guest resolves, pings and downloads 100 MB, byte for byte', async () => {
    const guest = await guestOn(await relayWithEgress())
    expect(await lookup(guest, 'good.example')).toMatchObject({ answers: [{ data: PUBLIC }] })
    guest.send(pingFrame(guest.end, { mac: GATEWAY.mac, ip: ip(PUBLIC) }))
    await guest.next(frame => icmpIn(frame)?.type === 0, 'a pong from outside')
    const size = 100 * MB
    const got = createHash('sha256')
    let head = Buffer.alloc(0)
    let inBody = false
    await download(guest, ip(PUBLIC), HTTP_PORT, `/bytes/${size}`, bytes => {
      if (inBody) return void got.update(bytes)
      head = Buffer.concat([head, bytes])
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return
      inBody = true
      got.update(head.subarray(end + 4))
    })
    const right = createHash('sha256')
    for (let at = 0; at < size; at += MB) right.update(pattern(at, MB))
    expect(got.digest('hex')).toBe(right.digest('hex'))
  }, 300_000)

  test('loopback, private, link-local and metadata addresses are refused and logged, and nothing arrives there', async () => {
    const relay = await relayWithEgress()
    const [guest, bystander] = [await guestOn(relay), await guestOn(relay)]
    const before = await internet.connections()
    for (const address of ['127.0.0.1', ...FORBIDDEN]) await cannotGet(guest, address)
    expect(await internet.connections()).toBe(before + 1)
    expect(relay.counts.refused.get('egress')).toBeGreaterThan(0)
    expect(relay.lines.find(line => line.reason === 'egress')).toMatchObject({ destination: '127.0.0.1' })
    expect(await get(bystander, PUBLIC)).toContain('hello')
  })

  test('so they are by nftables alone, should the relay’s own check fail', async () => {
    const { log } = keepingLog()
    const careless = Object.assign(new EgressPolicy([], () => 0), { refuse: () => undefined })
    const egress = closeLater(
      openEgress(careless, lanSettings(checkOptions({})), nameServer([PUBLIC]), new Counts(), log),
    )
    const relay = await testRelay({}, { outside: egress })
    const guest = await guestOn(relay)
    expect(await get(guest, PUBLIC)).toContain('hello')
    const before = await internet.connections()
    // 198.51.100.1 is this machine itself, where something listens: the relay.
    const tries = [...FORBIDDEN.map(address => [address, HTTP_PORT] as const), ['198.51.100.1', relay.port] as const]
    for (const [address, port] of tries) await cannotGet(guest, address, port)
    await cannotGet(guest, PUBLIC, 25)
    expect(await internet.connections()).toBe(before + 1)
  })

  test('IPv6 does not go out, mapped loopback included', async () => {
    const relay = await relayWithEgress()
    const guest = await guestOn(relay)
    const header = Buffer.from(`600000000014063f${'fe80'.padEnd(32, '0')}${'0'.repeat(20)}ffff7f000001`, 'hex')
    const frame = Buffer.alloc(14 + 40 + 20)
    Buffer.from('52550a000201', 'hex').copy(frame)
    frame.writeUIntBE(guest.mac, 6, 6)
    frame.writeUInt16BE(0x86dd, 12)
    header.copy(frame, 14)
    guest.send(frame)
    expect(await guest.settle()).toEqual([])
    expect(relay.counts.refused.get('ipv6')).toBe(1)
  })

  test('a name that leads to a private address is refused', async () => {
    const relay = await relayWithEgress()
    const guest = await guestOn(relay)
    for (const name of ['trap.example', 'loop.example'])
      expect(await lookup(guest, name), name).toMatchObject({ rcode: 'REFUSED', answers: [] })
    expect(await lookup(guest, 'mixed.example')).toMatchObject({ answers: [{ data: PUBLIC }] })
    expect(relay.lines.filter(line => line.reason === 'name')).toHaveLength(3)
  })

  test('with allowed names, only they are outside, and one that leads to a private address is refused', async () => {
    const relay = await relayWithEgress('good.example', 'trap.example')
    const guest = await guestOn(relay)
    await cannotGet(guest, PUBLIC)
    expect(await lookup(guest, 'other.example')).toMatchObject({ rcode: 'REFUSED' })
    expect(await lookup(guest, 'trap.example')).toMatchObject({ rcode: 'REFUSED' })
    await cannotGet(guest, '10.66.0.1')
    expect(await lookup(guest, 'good.example')).toMatchObject({ answers: [{ data: PUBLIC }] })
    expect(await get(guest, PUBLIC)).toContain('hello')
  })

  test('a private network that was opened by its name can be reached', async () => {
    const relay = await relayWithEgress('10.66.0.0/24')
    const guest = await guestOn(relay)
    expect(await get(guest, '10.66.0.1')).toContain('hello')
    expect(await lookup(guest, 'trap.example')).toMatchObject({ answers: [{ data: '10.66.0.1' }] })
    await cannotGet(guest, '192.168.77.1')
  })

  test('a second relay of this machine comes and goes without cutting off the first one’s guests', async () => {
    const guest = await guestOn(await relayWithEgress())
    const second = await RelayProcess.start(['--egress'])
    expect(await get(guest, PUBLIC)).toContain('hello')
    await second.close()
    expect(await get(guest, PUBLIC)).toContain('hello')
  })

  test('without the rights to do so safely it refuses to start, and says what it needs', async () => {
    const nobody = { uid: 65_534, gid: 65_534 }
    await expect(RelayProcess.start(['--egress'], 0, nobody)).rejects.toThrow(/needs Linux, root .* this is not root/)
    const noTools = { env: { ...process.env, PATH: '/nowhere' } }
    await expect(RelayProcess.start(['--egress'], 0, noTools)).rejects.toThrow(
      /passt, nftables, iproute2 and perl-base.* there is no ip/,
    )
  })

  test('everything it made on this machine is gone afterwards', async () => {
    const { execFileSync } = await import('node:child_process')
    expect(execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })).not.toContain(`ringlet-${process.pid}`)
    expect(execFileSync('nft', ['list', 'tables'], { encoding: 'utf8' })).not.toContain(`ringlet-${process.pid}`)
  })
})
