import { setTimeout as sleep } from 'node:timers/promises'
import { writeEthernet } from '../src/net/ethernet.ts'
import { writeIpv4 } from '../src/net/ipv4.ts'
import { Guest } from '../test/relay/guest.ts'
import { RelayProcess } from '../test/relay/process.ts'
import type { Benchmark, Row } from './harness/row.ts'

const IDLE = 1000
const BUSY = 200
const SLOW = 20
const SECONDS = 60
/** Frames a second that each busy guest sends to its partner. */
const RATE = 50
/** So many at once to one that reads nothing: more in all than the sockets between them hold. */
const BURST = 5
const SIZE = 1514
const FLAGS = ['--rooms', 'open', '--max-per-address', '5000', '--max-clients', '5000', '--log-level', 'warn']

async function connect(relay: RelayProcess, count: number, room: (index: number) => string) {
  const guests: Guest[] = []
  for (let i = 0; i < count; i++) {
    const guest = await Guest.connect(relay.url, { query: `?room=${room(i)}` })
    await guest.dhcp()
    guests.push(guest)
    if (i % 100 === 99) process.stderr.write(`${i + 1} guests\n`)
  }
  return guests
}

const settled = (what: string, ours: number, unit: string, target?: Row['target']): Row => ({
  what,
  ours,
  unit,
  ...(target && { target }),
})

async function* idle(): AsyncGenerator<Row> {
  const relay = await RelayProcess.start(FLAGS)
  try {
    const guests = await connect(relay, IDLE, i => `idle${i >> 3}`)
    const cpu = relay.cpu()
    await sleep(SECONDS * 1000)
    const connected = guests.filter(guest => !guest.closed).length
    yield settled(`idle: connected after ${SECONDS} s, of ${IDLE}`, connected, 'guests', { atLeast: IDLE })
    yield settled('idle: memory of the whole relay, for each guest', relay.memory() / IDLE / 1024, 'KiB')
    yield settled('idle: CPU', ((relay.cpu() - cpu) / SECONDS) * 100, '% of one')
    for (const guest of guests) guest.close()
  } finally {
    await relay.kill()
  }
}

interface Traffic {
  readonly sent: number
  readonly arrived: number
  /** Of all frames that arrived, sorted, in milliseconds. */
  readonly delays: number[]
}

/** Everybody sends to its partner for so long; `slow` ones get more and read nothing. */
async function traffic(guests: readonly Guest[], slow: ReadonlySet<Guest>): Promise<Traffic> {
  const delays: number[] = []
  let sent = 0
  let arrived = 0
  for (const guest of guests) {
    guest.ws.removeAllListeners('message')
    if (slow.has(guest)) guest.ws.pause()
    else
      guest.ws.on('message', data => {
        arrived++
        delays.push(performance.now() - (data as Buffer).readDoubleLE(34))
      })
  }
  const begin = performance.now()
  const end = begin + SECONDS * 1000
  for (let next = begin; performance.now() < end; next += 1000 / RATE) {
    await sleep(Math.max(0, next - performance.now()))
    // Where this machine cannot make so much load, less is sent: late frames would measure the sender.
    next = Math.max(next, performance.now() - 1000 / RATE)
    for (const [index, guest] of guests.entries()) {
      const partner = guests[index ^ 1]!
      if (guest.ws.bufferedAmount > 0 || slow.has(guest)) continue
      const payload = Buffer.alloc(SIZE - 34)
      payload.writeDoubleLE(performance.now())
      const frame = writeEthernet(partner.mac, guest.mac, 0x0800, writeIpv4(guest.ip, partner.ip, 253, payload))
      if (slow.has(partner)) for (let i = 0; i < BURST; i++) guest.send(frame)
      else {
        guest.send(frame)
        sent++
      }
    }
  }
  for (let waited = 0; arrived < sent && waited < 20; waited++) await sleep(500)
  return { sent, arrived, delays: delays.sort((a, b) => a - b) }
}

const quantile = ({ delays }: Traffic, part: number) => delays[Math.floor(delays.length * part)] ?? Number.NaN

async function* busy(slowCount: number): AsyncGenerator<Row> {
  const relay = await RelayProcess.start([...FLAGS, '--queue-bytes', `${2 ** 20}`])
  const name = slowCount ? `busy, ${slowCount} of them read nothing` : 'busy'
  try {
    const guests = await connect(relay, BUSY, i => `busy${i >> 1}`)
    const cpu = relay.cpu()
    const begin = performance.now()
    // One of a pair, to which the other one sends all the same.
    const slow = new Set(guests.filter((_, index) => index % 2 === 0).slice(0, slowCount))
    const result = await traffic(guests, slow)
    const seconds = (performance.now() - begin) / 1000
    const used = relay.cpu() - cpu
    const memory = relay.memory()
    yield settled(`${name}: frames a second`, result.arrived / seconds, 'frames/s')
    yield settled(`${name}: arrived, of what was sent to who reads`, (result.arrived / result.sent) * 100, '%', {
      atLeast: 99.9,
    })
    yield settled(`${name}: delay, median`, quantile(result, 0.5), 'ms')
    yield settled(`${name}: delay, 99 %`, quantile(result, 0.99), 'ms')
    yield settled(`${name}: memory of the whole relay, for each guest`, memory / BUSY / 1024, 'KiB')
    yield settled(`${name}: CPU`, (used / seconds) * 100, '% of one')
    if (slowCount)
      yield settled(
        `${name}: frames dropped for who does not read`,
        await relay.metric('ringlet_relay_frames_dropped_total'),
        'frames',
      )
    for (const guest of guests) guest.close()
  } finally {
    await relay.kill()
  }
}

async function* run(): AsyncGenerator<Row> {
  yield* idle()
  yield* busy(0)
  yield* busy(SLOW)
}

export default {
  title: `The relay with ${IDLE} idle, ${BUSY} busy, and ${SLOW} slow guests among busy ones, ${SECONDS} s each`,
  run,
} satisfies Benchmark
