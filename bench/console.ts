import type { Page } from '@playwright/test'
import { BenchBrowser } from './harness/browser.ts'
import { type Benchmark, type Row, row, type Target } from './harness/row.ts'
import type { Bench } from './page/page.ts'
import type { Wiring } from './page/theirs.ts'

declare const bench: Bench & {
  machine: { boot(): Promise<number>; time(command: string, last: string): Promise<number> }
}
const RUNS = 5
const MEGABYTES = 10
/** What a peer prints of them in each run: a serial port keeps the same pace all along, and minutes of it tell no more. */
const PEERS: readonly { wiring: Wiring; megabytes: number; target: Target }[] = [
  { wiring: 'virtio-console', megabytes: MEGABYTES, target: { atLeast: 1.5 } },
  { wiring: 'serial', megabytes: 1, target: { atLeast: 5 } },
]
const LINE = 'the quick brown fox jumps over the lazy dog, and the dog does not even wake up'

/** Ten megabytes of text in the guest's memory, to be printed as often as wanted. */
async function boot(chromium: BenchBrowser, wiring: Wiring | undefined): Promise<Page> {
  const page = await chromium.page()
  process.stderr.write(`console: booting ${wiring ?? 'ours'}\n`)
  await page.evaluate(async wired => {
    bench.machine = wired ? bench.theirs(wired) : bench.ours()
    await bench.machine.boot()
  }, wiring)
  await time(page, `yes "${LINE}" | head -c ${MEGABYTES * 1_000_000} > /tmp/${MEGABYTES}MB`)
  await time(page, `head -c 1000000 /tmp/${MEGABYTES}MB > /tmp/1MB; head -c 100000 /tmp/1MB`) // warm
  return page
}

/** Milliseconds until the terminal shows that the command is done. */
const time = (page: Page, command: string) =>
  page.evaluate(([typed, tag]) => bench.machine.time(`${typed}; echo; echo done-""${tag}`, `done-${tag}`), [
    command,
    Math.random().toString(36).slice(2),
  ] as const)

async function* run(): AsyncIterable<Row> {
  const chromium = await BenchBrowser.open()
  try {
    const rate = async (page: Page, megabytes: number) => {
      await page.bringToFront()
      return (megabytes * 1000) / (await time(page, `cat /tmp/${megabytes}MB`))
    }
    for (const { wiring, megabytes, target } of PEERS) {
      const [mine, other] = [await boot(chromium, undefined), await boot(chromium, wiring)]
      const [ours, peer]: [number[], number[]] = [[], []]
      for (let count = 1; count <= RUNS; count++) {
        process.stderr.write(`console, ${wiring}: run ${count} of ${RUNS}\n`)
        ours.push(await rate(mine, MEGABYTES))
        peer.push(await rate(other, megabytes))
      }
      await Promise.all([mine.close(), other.close()])
      yield row({
        what: `cat of ${MEGABYTES} MB to xterm; v86’s ${wiring}, ${megabytes} MB`,
        unit: 'MB/s',
        ours,
        peer,
        target,
      })
    }
  } finally {
    await chromium.close()
  }
}

export default { title: 'Printing ten megabytes on the console in Chromium', run } satisfies Benchmark
