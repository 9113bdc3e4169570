import type { Page } from '@playwright/test'
import { BenchBrowser } from './harness/browser.ts'
import { type Benchmark, type Row, row } from './harness/row.ts'
import type { Bench } from './page/page.ts'

declare const bench: Bench
const RUNS = 5

const ours = async (page: Page) =>
  page.evaluate(async () => {
    const machine = bench.ours()
    const milliseconds = await machine.boot()
    await machine.stop()
    return { milliseconds, phases: machine.phases }
  })
const theirs = async (page: Page) =>
  page.evaluate(async () => {
    const machine = bench.theirs('serial')
    const milliseconds = await machine.boot()
    await machine.stop()
    return milliseconds
  })

async function* run(): AsyncIterable<Row> {
  const chromium = await BenchBrowser.open()
  try {
    const fresh = async <T>(work: (page: Page) => Promise<T>) => {
      const page = await chromium.page()
      const result = await work(page)
      await page.close()
      return result
    }
    const runs: { ours: number; peer: number; phases: Readonly<Record<string, number>> }[] = []
    for (let count = 1; count <= RUNS; count++) {
      process.stderr.write(`boot: run ${count} of ${RUNS}\n`)
      const { milliseconds, phases } = await fresh(ours)
      runs.push({ ours: milliseconds, phases, peer: await fresh(theirs) })
    }
    const seconds = (pick: (run: (typeof runs)[number]) => number) => runs.map(each => pick(each) / 1000)
    yield row({
      what: 'to the prompt: ours, SeaBIOS + bzImage + serial console',
      unit: 's',
      ours: seconds(each => each.ours),
      peer: seconds(each => each.peer),
      target: { atMost: 1 / 3 },
    })
    const megabytes = async (work: (page: Page) => Promise<unknown>) => [
      (await chromium.downloaded(() => fresh(work))) / 1e6,
    ]
    yield row({ what: 'downloaded for it', unit: 'MB', ours: await megabytes(ours), peer: await megabytes(theirs) })
    for (const phase of Object.keys(runs[0]!.phases))
      yield row({ what: `ours: ${phase}`, unit: 's', ours: seconds(each => each.phases[phase] ?? 0) })
  } finally {
    await chromium.close()
  }
}

export default { title: 'Booting the default guest in Chromium, against v86’s own way', run } satisfies Benchmark
