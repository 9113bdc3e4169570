import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { writeEthernet } from '../src/net/ethernet.ts'
import { writeIpv4 } from '../src/net/ipv4.ts'
import { Guest } from '../test/relay/guest.ts'
import { whyNot } from '../test/relay/internet.ts'
import { NatsServer } from '../test/relay/nats-server.ts'
import { cpuSeconds, RelayProcess } from '../test/relay/process.ts'
import { type Benchmark, compare, type Row, row } from './harness/row.ts'

const SECONDS = 1.5
const RUNS = 7
/** Frames on their way at once. */
const IN_FLIGHT = 512
const UNLIMITED = ['--rooms', 'open', '--frames-per-second', '1000000000', '--bytes-per-second', '1000000000000']
const SIZES = [60, 1514]

/** Frames a second from one guest to another (or back to itself), with so many on their way at once. */
async function rate(from: Guest, to: Guest, frame: Uint8Array): Promise<number> {
  let arrived = 0
  const stop = performance.now() + SECONDS * 1000
  const start = performance.now()
  await new Promise<void>((resolve, fail) => {
    const lost = setTimeout(() => fail(new Error('frames were lost')), SECONDS * 1000 + 20_000)
    const receive = () => {
      arrived++
      to.frames.length = 0
      if (performance.now() < stop) from.send(frame)
      else {
        clearTimeout(lost)
        to.ws.off('message', receive)
        resolve()
      }
    }
    to.ws.on('message', receive)
    for (let i = 0; i < IN_FLIGHT; i++) from.send(frame)
  })
  const result = (arrived * 1000) / (performance.now() - start)
  // What is still on its way must not count for the next run.
  await new Promise(resolve => setTimeout(resolve, 300))
  return result
}

const frameOf = (from: Guest, to: Guest, size: number) =>
  writeEthernet(to.mac, from.mac, 0x0800, writeIpv4(from.ip, to.ip, 253, new Uint8Array(size - 34)))

async function pair(first: RelayProcess, second = first) {
  const [a, b] = [
    await Guest.connect(first.url, { query: '?room=bench' }),
    await Guest.connect(second.url, { query: '?room=bench' }),
  ]
  await a.dhcp()
  await b.dhcp()
  return [a, b] as const
}

/** The rate of a comparison's runs, and what the servers used for it: the rate has the cost of making load in it, this has not. */
async function* compareServers(
  what: string,
  ours: () => Promise<number>,
  peer: () => Promise<number>,
  pids: Servers,
  target?: Row['target'],
) {
  const used: [number[], number[]] = [[], []]
  const metered = (side: 0 | 1, run: () => Promise<number>) => async () => {
    const before = pids[side].reduce((sum, pid) => sum + cpuSeconds(pid), 0)
    const frames = await run()
    const after = pids[side].reduce((sum, pid) => sum + cpuSeconds(pid), 0)
    used[side].push(((after - before) * 1e6) / (frames * SECONDS))
    return frames
  }
  yield await compare({
    what,
    unit: 'frames/s',
    ours: metered(0, ours),
    peer: metered(1, peer),
    runs: RUNS,
    ...(target && { target }),
  })
  yield row({ what: '  CPU of the servers for a frame', unit: 'µs', ours: used[0], peer: used[1] })
}

/** Processes that carry our frames, and the peer's. */
type Servers = readonly [readonly number[], readonly number[]]

async function* run(): AsyncGenerator<Row> {
  const script = fileURLToPath(new URL('relay/echo.ts', import.meta.url))
  const echo = spawn(process.execPath, ['--import', 'tsx', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const relay = await RelayProcess.start(UNLIMITED)
  try {
    const [port] = await once(echo.stdout, 'data')
    const peer = await Guest.connect(`ws://127.0.0.1:${Number(port)}/`)
    const [a, b] = await pair(relay)
    for (const size of SIZES)
      yield* compareServers(
        `one relay, ${size} bytes, against a bare ws echo`,
        () => rate(a, b, frameOf(a, b, size)),
        () => rate(peer, peer, frameOf(a, b, size)),
        [[relay.pid], [echo.pid!]],
        { atLeast: 0.7 },
      )
    const reason = whyNot('nats-server')
    if (reason) console.error(`Two relays joined by NATS are NOT measured: ${reason}.`)
    else yield* twoRelays(peer, echo.pid!)
    for (const guest of [a, b, peer]) guest.close()
  } finally {
    echo.kill()
    await relay.close()
  }
}

async function* twoRelays(peer: Guest, echoPid: number): AsyncGenerator<Row> {
  const nats = await NatsServer.start()
  const flags = [...UNLIMITED, '--nats', nats.url]
  const relays = [await RelayProcess.start(flags), await RelayProcess.start(flags)] as const
  try {
    const [a, b] = await pair(...relays)
    for (const size of SIZES)
      yield* compareServers(
        `two relays by NATS, ${size} bytes, against a bare ws echo`,
        () => rate(a, b, frameOf(a, b, size)),
        () => rate(peer, peer, frameOf(a, b, size)),
        [[...relays.map(({ pid }) => pid), nats.pid], [echoPid]],
      )
    a.close()
    b.close()
  } finally {
    for (const relay of relays) await relay.close()
    await nats.close()
  }
}

export default { title: 'Frames through the relay', run } satisfies Benchmark
