import type { Page } from '@playwright/test'
import { BenchBrowser } from './harness/browser.ts'
import { type Benchmark, median, type Row, row, type Target } from './harness/row.ts'
import type { Bench } from './page/page.ts'
import type { Wiring } from './page/theirs.ts'

declare const bench: Bench & {
  machine: { boot(): Promise<number>; time(command: string, last: string): Promise<number> }
}
const RUNS = 5
const MEGABYTES = 10
const LINE = 'the quick brown fox jumps over the lazy dog, and the dog does not even wake up'

/** Ten megabytes of text in the guest's memory, to be printed as often as wanted. */
async function boot(chromium: BenchBrowser, wiring: Wiring | undefined): Promise<Page> {
  const page = await chromium.page()
  process.stderr.write(`console: booting ${wiring ?? 'ours'}\n`)
  await page.evaluate(async wired => {
    bench.machine = wired ? bench.theirs(wired) : bench.ours()
    await bench.machine.boot()
  }, wiring)
  await time(page, `yes "${LINE}" | head -c ${MEGABYTES * 1_000_000} > /tmp/text`)
  await time(page, 'cat /tmp/text | head -c 100000') // warm
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
    const rate = async (page: Page) => {
      await page.bringToFront()
      return (MEGABYTES * 1000) / (await time(page, 'cat /tmp/text'))
    }
    const peers: readonly (readonly [Wiring, Target])[] = [
      ['virtio-console', { atLeast: 1.5 }],
      ['serial', { atLeast: 5 }],
    ]
    for (const [wiring, target] of peers) {
      const [mine, other] = [await boot(chromium, undefined), await boot(chromium, wiring)]
      const [ours, peer]: [number[], number[]] = [[], []]
      for (let count = 1; count <= RUNS; count++) {
        process.stderr.write(`console, ${wiring}: run ${count} of ${RUNS}\n`)
        ours.push(await rate(mine))
        peer.push(await rate(other))
      }
      process.stderr.write(`medians: ${median(ours)} and ${median(peer)} MB/s\n`)
      await Promise.all([mine.close(), other.close()])
      yield row({ what: `cat of 10 MB to xterm, against v86’s ${wiring}`, unit: 'MB/s', ours, peer, target })
    }
  } finally {
    await chromium.close()
  }
}

export default { title: 'Printing ten megabytes on the console in Chromium', run } satisfies Benchmark
