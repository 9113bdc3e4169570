import { spawn } from 'node:child_process'
import type { Page } from '@playwright/test'
import { rendererOf } from '../test/browser/chromium.ts'
import { initrdWithIperf } from '../test/net/iperf.ts'
import { makeInternet, PUBLIC, whyNot } from '../test/relay/internet.ts'
import { RelayProcess } from '../test/relay/process.ts'
import { BenchBrowser } from './harness/browser.ts'
import { type Benchmark, type Row, row } from './harness/row.ts'
import { type Ping, SECONDS, Tab, type Transfer, UP } from './net/tab.ts'
import { TwoTabs } from './net/tabs.ts'
import type { Bench } from './page/page.ts'

declare const bench: Bench
declare const guests: { run(command: string, guest?: number): Promise<string> }

const RUNS = 5
/** A round trip takes the browser's processes now this long, now that: of five medians the median still differs by a tenth. */
const PING_RUNS = 12
const INITRD = 'initrd-iperf3.cpio'
/** The relay answers for it. */
const GATEWAY = '10.0.2.1'

const rate = ({ rate }: Transfer) => rate
const cpu = ({ cpu }: Transfer) => cpu

async function open(chromium: BenchBrowser, start: (page: Page) => Promise<unknown>): Promise<Tab> {
  const page = await chromium.page()
  await start(page)
  const run = (command: string, guest = 0) =>
    page.evaluate(({ command, guest }) => guests.run(command, guest), { command, guest })
  return new Tab(run, [await rendererOf(chromium.browser)], () => page.close())
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
    const ours = await open(chromium, page =>
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
    const theirs = await open(chromium, page =>
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
    const ping = [[], []] as [Ping[], Ping[]]
    for (let count = 1; count <= RUNS; count++) {
      process.stderr.write(`net: run ${count} of ${RUNS}\n`)
      for (const side of [0, 1] as const) {
        down[side].push(await both[side].iperf(PUBLIC, '-R'))
        up[side].push(await both[side].iperf(PUBLIC))
      }
    }
    for (let count = 1; count <= PING_RUNS; count++)
      for (const side of [0, 1] as const) ping[side].push(await both[side].ping(GATEWAY))
    for (const tab of both) await tab.close()

    const compared = <T>(what: string, unit: string, [mine, peer]: readonly [T[], T[]], pick: (one: T) => number) => ({
      ...{ what, unit, ours: mine.map(pick), peer: peer.map(pick) },
    })
    yield row({ ...compared('down, through the relay', 'Mbit/s', down, rate), target: { atLeast: 2 } })
    yield row({ ...compared('up, through the relay', 'Mbit/s', up, rate), target: { atLeast: 2 } })
    yield row(compared('down: CPU of the tab', 's/GB', down, cpu))
    yield row(compared('up: CPU of the tab', 's/GB', up, cpu))
    yield row({ ...compared('ping to the relay, median', 'ms', ping, one => one[0]), target: { atMost: 1 } })
    yield row({ ...compared('ping to the relay, 99 %', 'ms', ping, one => one[1]), target: { atMost: 1 } })

    const pair = await open(chromium, page =>
      page.evaluate(async initrd => {
        const pair = bench.pair()
        await pair.boot(initrd)
        Object.assign(globalThis, { guests: pair })
      }, `../${INITRD}`),
    )
    for (const guest of [0, 1]) await pair.run(UP, guest)
    const address = await pair.address(1)
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
    await pair.close()
    yield* betweenTabs(chromium.url, best)
  } finally {
    server.kill()
    await relay.close()
    await internet.close()
    await chromium.close()
  }
}

async function* betweenTabs(url: string, best: number[]): AsyncIterable<Row> {
  const tabs = await TwoTabs.open(url, `../${INITRD}`)
  try {
    const { shown, address } = tabs
    for (const flags of ['', '-R', '', '-R', '', '-R']) await shown.iperf(address, flags)
    const there: Transfer[] = []
    const back: Transfer[] = []
    const ping: Ping[] = []
    const loops: Awaited<ReturnType<TwoTabs['loops']>>[] = []
    for (let count = 1; count <= RUNS; count++) {
      process.stderr.write(`net: tab to tab, run ${count} of ${RUNS}\n`)
      there.push(await shown.iperf(address))
      back.push(await shown.iperf(address, '-R'))
      ping.push(await shown.ping(address))
      loops.push(await tabs.loops())
    }
    const against = 'against v86’s better way'
    yield row({ what: `tab to hidden tab, ${against}`, unit: 'Mbit/s', ours: there.map(rate), peer: best })
    yield row({ what: `hidden tab to tab, ${against}`, unit: 'Mbit/s', ours: back.map(rate), peer: best })
    yield row({ what: 'tab to tab: CPU of the browser', unit: 's/GB', ours: [...there, ...back].map(cpu) })
    yield row({ what: 'ping to a hidden tab, median', unit: 'ms', ours: ping.map(([median]) => median) })
    yield row({
      ...{ what: 'a loop in a hidden tab, against the same in front', unit: 'rounds/s' },
      ...{ ours: loops.map(({ behind }) => behind), peer: loops.map(({ front }) => front) },
    })
  } finally {
    await tabs.close()
  }
}

export default {
  title: 'iperf3 and ping in Chromium, against v86’s own virtio-net over the same relay',
  run,
} satisfies Benchmark
