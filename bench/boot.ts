import type { Page } from '@playwright/test'
import { BenchBrowser } from './harness/browser.ts'
import { type Benchmark, type Row, row } from './harness/row.ts'
import type { Bench } from './page/page.ts'

declare const bench: Bench
const RUNS = 5

type Phases = Readonly<Record<string, number>>
/** What ours spends its time with, one after the other, and in it what runs side by side. */
const BREAKDOWN: readonly (readonly [what: string, milliseconds: (phases: Phases) => number])[] = [
  ['the worker’s code', ({ worker = 0 }) => worker],
  ['files and processor', phases => phases['first output']! - phases['into memory']! - phases['kernel']!],
  ...['kernel download', 'kernel unpack', 'initrd download', 'initrd unpack', 'machine'].map(
    phase => [`  of it, ${phase}`, (phases: Phases) => phases[phase] ?? 0] as const,
  ),
  ['into memory', phases => phases['into memory']!],
  ['the kernel and /init, to the first output', ({ kernel = 0 }) => kernel],
  ['the shell, to its prompt on the screen', ({ prompt = 0 }) => prompt],
]

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
    const runs: { ours: number; peer: number; phases: Phases }[] = []
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
    for (const [what, milliseconds] of BREAKDOWN)
      yield row({ what: `ours: ${what}`, unit: 's', ours: seconds(({ phases }) => milliseconds(phases)) })
  } finally {
    await chromium.close()
  }
}

export default { title: 'Booting the default guest in Chromium, against v86’s own way', run } satisfies Benchmark
