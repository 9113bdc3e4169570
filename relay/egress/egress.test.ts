import { pino } from 'pino'
import { expect, test } from 'vitest'
import { parseIp } from '../../src/net/ipv4.ts'
import { Counts } from '../metrics.ts'
import { type NameServer, OutsideNames } from './egress.ts'
import { machineRules, namespaceRules } from './namespace.ts'
import { Deframer } from './passt.ts'
import { EgressPolicy } from './policy.ts'

const server = (answers: Record<string, string[]>): NameServer => ({
  async resolve4(name) {
    if (!answers[name]) throw Object.assign(new Error(name), { code: 'ENOTFOUND' })
    return answers[name].map(address => ({ address, ttl: 100_000 }))
  },
})

function names(allow: string[], answers: Record<string, string[]>) {
  const opened: string[] = []
  const lines: string[] = []
  const log = pino({}, { write: (line: string) => lines.push(line) })
  const policy = new EgressPolicy(allow, () => 0)
  const outside = new OutsideNames(
    policy,
    server(answers),
    new Counts(),
    log,
    async address => void opened.push(address),
  )
  return { outside, policy, opened, lines }
}

test('an allowed name that leads to a private address is refused, logged and opens nothing', async () => {
  const { outside, policy, opened, lines } = names(['trap.example'], { 'trap.example': ['10.0.0.1', '127.0.0.1'] })
  expect(await outside.resolve('trap.example', 1)).toEqual({ rcode: 5 })
  expect(opened).toEqual([])
  expect(policy.refuse(parseIp('10.0.0.1')!)).toBeDefined()
  expect(lines.join()).toContain('it resolves to 10.0.0.1, in 10.0.0.0/8 (private)')
})

test('of a name with public and private addresses only the public ones are told', async () => {
  const { outside, opened } = names(['mixed.example'], { 'mixed.example': ['169.254.169.254', '93.184.216.34'] })
  const answer = await outside.resolve('mixed.example', 1)
  expect(answer.records).toEqual([{ type: 1, ttl: 3600, data: Uint8Array.of(93, 184, 216, 34) }])
  expect(opened).toEqual(['93.184.216.34'])
})

test('other names are refused without being asked for; unknown ones do not exist; none has an IPv6 address', async () => {
  const { outside } = names(['good.example'], { 'good.example': ['93.184.216.34'], 'bad.example': ['93.184.216.35'] })
  expect((await outside.resolve('bad.example', 1)).rcode).toBe(5)
  expect((await outside.resolve('no.good.example', 1)).rcode).toBe(3)
  expect(await outside.resolve('good.example', 28)).toEqual({ rcode: 0 })
})

test('frames are cut out of a stream however it is cut', () => {
  const frames = [new Uint8Array(60).fill(1), new Uint8Array(0), new Uint8Array(1514).fill(2)]
  const stream = Buffer.concat(
    frames.flatMap(frame => [Buffer.from([0, 0, frame.length >> 8, frame.length & 255]), frame]),
  )
  for (const step of [1, 3, 64, 5000]) {
    const got: number[] = []
    const deframer = new Deframer(frame => got.push(frame.length))
    for (let at = 0; at < stream.length; at += step) expect(deframer.push(stream.subarray(at, at + step))).toBe(true)
    expect(got).toEqual([60, 0, 1514])
  }
  expect(new Deframer(() => {}).push(Buffer.from([255, 255, 255, 255]))).toBe(false)
})

test('the rules drop by default, IPv6 too, and name opened networks before denied ones', () => {
  const rules = namespaceRules(new EgressPolicy(['10.1.0.0/16', 'example.org'], () => 0))
  expect(rules.match(/policy drop/g)).toHaveLength(3)
  expect(rules.indexOf('10.1.0.0/16 } accept')).toBeLessThan(rules.indexOf('10.0.0.0/8'))
  expect(rules).toContain('ip daddr @allowed accept')
  expect(rules).not.toContain('meta nfproto ipv4 accept')
  const open = namespaceRules(new EgressPolicy([], () => 0))
  expect(open).toContain('meta nfproto ipv4 accept')
  expect(machineRules('t', 'cable', '100.127.0.0/30', new EgressPolicy([], () => 0))).toContain(
    'iifname "cable" counter drop',
  )
})
