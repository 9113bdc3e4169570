import { spawn } from 'node:child_process'
import type { Page } from '@playwright/test'
import { rendererOf, usage } from '../test/browser/chromium.ts'
import { makeInternet, PUBLIC, whyNot } from '../test/relay/internet.ts'
import { RelayProcess } from '../test/relay/process.ts'
import { BenchBrowser } from './harness/browser.ts'
import { type Benchmark, type Row, row } from './harness/row.ts'
import { initrdWithIperf } from './net/iperf.ts'
import type { Bench } from './page/page.ts'

declare const bench: Bench
declare const guests: { run(command: string, guest?: number): Promise<string> }

const RUNS = 5
const SECONDS = 5
const PINGS = 200
const INITRD = 'initrd-iperf3.cpio'
/** The relay answers for it. */
const GATEWAY = '10.0.2.1'
const UP = 'ip link set eth0 up && udhcpc -i eth0 -n -q -t 20'

interface Transfer {
  /** Mbit/s, as the receiver saw it. */
  readonly rate: number
  /** Of the tab's process, in seconds for every GB. */
  readonly cpu: number
}

/** A page with one guest or more in it, at their prompts. */
class Tab {
  private constructor(
    readonly page: Page,
    private readonly pid: number,
  ) {}

  static async open(chromium: BenchBrowser, start: (page: Page) => Promise<unknown>): Promise<Tab> {
    const page = await chromium.page()
    await start(page)
    return new Tab(page, await rendererOf(chromium.browser))
  }

  run(command: string, guest = 0): Promise<string> {
    return this.page.evaluate(({ command, guest }) => guests.run(command, guest), { command, guest })
  }

  /** The median and the 99th percentile, in milliseconds. */
  async ping(): Promise<readonly [number, number]> {
    const times = (await this.run(`ping -c ${PINGS} -i 0.02 ${GATEWAY} | sed -n 's/.*time=//p' | sort -n`))
      .split('\n')
      .map(Number.parseFloat)
      .sort((a, b) => a - b)
    if (times.length < PINGS * 0.95) throw new Error(`of ${PINGS} pings only ${times.length} came back`)
    return [times[times.length >> 1]!, times[Math.floor(times.length * 0.99)]!]
  }

  async iperf(to: string, flags = ''): Promise<Transfer> {
    const before = await usage(this.pid)
    const said = await this.run(`iperf3 -c ${to} -f m -t ${SECONDS} ${flags}`)
    const { seconds } = await usage(this.pid)
    const [, start, end, rate] = /([\d.]+)-([\d.]+) +sec .* ([\d.]+) Mbits\/sec +receiver/.exec(said) ?? []
    if (!rate) throw new Error(`iperf3 failed: ${said}`)
    const gigabytes = (Number(rate) * (Number(end) - Number(start))) / 8000
    return { rate: Number(rate), cpu: (seconds - before.seconds) / gigabytes }
  }
}

async function* run(): AsyncIterable<Row> {
  const reason = whyNot('ip', 'nft', 'passt', 'iperf3')
  if (reason) throw new Error(`The guests’ iperf3 cannot reach a server through the relay here: ${reason}.`)
  const chromium = await BenchBrowser.open({ files: new Map([[`/${INITRD}`, await initrdWithIperf()]]) })
  const internet = await makeInternet()
  const server = spawn('ip', ['netns', 'exec', internet.namespace, 'iperf3', '-s'], { stdio: 'ignore' })
  const relay = await RelayProcess.start(['--egress', '--dns', PUBLIC])
  try {
    process.stderr.write(
      `The path: guest, tab, WebSocket, relay, passt, network namespace with iperf3 -s; ${SECONDS} s a run, MTU 1500.\n`,
    )
    const url = relay.url
    const ours = await Tab.open(chromium, page =>
      page.evaluate(
        async ({ url, initrd }) => {
          const machine = bench.ours()
          await machine.boot({
            initrd,
            devices: [{ type: 'console' }, { type: 'entropy' }, { type: 'net', link: 'relay', url }],
          })
          Object.assign(globalThis, { guests: machine })
        },
        { url, initrd: `../${INITRD}` },
      ),
    )
    const theirs = await Tab.open(chromium, page =>
      page.evaluate(
        async ({ url, initrd }) => {
          const machine = bench.theirs('serial', { initrd, relay: url })
          await machine.boot()
          Object.assign(globalThis, { guests: machine })
        },
        { url, initrd: `../${INITRD}` },
      ),
    )
    const both = [ours, theirs] as const
    for (const tab of both) {
      await tab.run(UP)
      // The processor has to translate the guest's code first: it gets faster for a quarter of a minute, in either.
      for (const flags of ['', '-R', '', '-R']) await tab.iperf(PUBLIC, flags)
    }
    const down = [[], []] as [Transfer[], Transfer[]]
    const up = [[], []] as [Transfer[], Transfer[]]
    const ping = [[], []] as [(readonly [number, number])[], (readonly [number, number])[]]
    for (let count = 1; count <= RUNS; count++) {
      process.stderr.write(`net: run ${count} of ${RUNS}\n`)
      for (const side of [0, 1] as const) {
        down[side].push(await both[side].iperf(PUBLIC, '-R'))
        up[side].push(await both[side].iperf(PUBLIC))
        ping[side].push(await both[side].ping())
      }
    }
    for (const tab of both) await tab.page.close()

    const compared = <T>(what: string, unit: string, [mine, peer]: readonly [T[], T[]], pick: (one: T) => number) => ({
      ...{ what, unit, ours: mine.map(pick), peer: peer.map(pick) },
    })
    const rate = ({ rate }: Transfer) => rate
    const cpu = ({ cpu }: Transfer) => cpu
    yield row({ ...compared('down, through the relay', 'Mbit/s', down, rate), target: { atLeast: 2 } })
    yield row({ ...compared('up, through the relay', 'Mbit/s', up, rate), target: { atLeast: 2 } })
    yield row(compared('down: CPU of the tab', 's/GB', down, cpu))
    yield row(compared('up: CPU of the tab', 's/GB', up, cpu))
    yield row({ ...compared('ping to the relay, median', 'ms', ping, one => one[0]), target: { atMost: 1 } })
    yield row({ ...compared('ping to the relay, 99 %', 'ms', ping, one => one[1]), target: { atMost: 1 } })

    const pair = await Tab.open(chromium, page =>
      page.evaluate(async initrd => {
        const pair = bench.pair()
        await pair.boot(initrd)
        Object.assign(globalThis, { guests: pair })
      }, `../${INITRD}`),
    )
    for (const guest of [0, 1]) await pair.run(UP, guest)
    const [address] = /[\d.]+/.exec(await pair.run("ip -4 -o addr show eth0 | sed 's/.*inet //'", 1))!
    await pair.run('iperf3 -s -D', 1)
    for (let warm = 0; warm < 3; warm++) await pair.iperf(address)
    const between: Transfer[] = []
    for (let count = 1; count <= RUNS; count++) {
      process.stderr.write(`net: guest to guest, run ${count} of ${RUNS}\n`)
      between.push(await pair.iperf(address))
    }
    const best = up[1].map(({ rate }, index) => Math.max(rate, down[1][index]!.rate))
    yield row({
      ...{ what: 'guest to guest in one page, against v86’s better way', unit: 'Mbit/s' },
      ...{ ours: between.map(rate), peer: best, target: { atLeast: 4 } },
    })
    yield row({ what: 'guest to guest: CPU of the tab', unit: 's/GB', ours: between.map(cpu) })
  } finally {
    server.kill()
    await relay.close()
    await internet.close()
    await chromium.close()
  }
}

export default {
  title: 'iperf3 and ping in Chromium, against v86’s own virtio-net over the same relay',
  run,
} satisfies Benchmark
