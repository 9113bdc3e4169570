import { readFile } from 'node:fs/promises'
import type { Page } from '@playwright/test'
import { BenchBrowser } from './harness/browser.ts'
import { type Benchmark, median, type Row } from './harness/row.ts'
import type { Bench } from './page/page.ts'

declare const bench: Bench & { machine: ReturnType<Bench['ours']> }
const RESETS = 100
const BOOTS = 20
/** The first ones fill caches and pages that are used again. */
const FIRST = 5

/** Kilobytes the renderers hold, by the operating system's account. */
async function memory(chromium: BenchBrowser): Promise<number> {
  const session = await chromium.browser.newBrowserCDPSession()
  const { processInfo } = await session.send('SystemInfo.getProcessInfo')
  await session.detach()
  const sizes = await Promise.all(
    processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => residentKilobytes(id)),
  )
  return sizes.reduce((sum, size) => sum + size, 0)
}

/** What is not shared with other processes. */
async function residentKilobytes(pid: number): Promise<number> {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '')
  return Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0)
}

/** Grown by so much, of what it was after the first five: medians of the following five and of the last five. */
async function growth(chromium: BenchBrowser, what: string, times: number, again: () => Promise<void>): Promise<Row> {
  const sizes: number[] = []
  for (let count = 1; count <= times; count++) {
    await again()
    sizes.push(await memory(chromium))
    process.stderr.write(`${what}: ${count} of ${times}, ${Math.round(sizes.at(-1)! / 1024)} MiB\n`)
  }
  const early = median(sizes.slice(FIRST, 2 * FIRST))
  const late = median(sizes.slice(-FIRST))
  return { what, ours: ((late - early) / early) * 100, unit: '% of memory', target: { atMost: 5 } }
}

async function* run(): AsyncIterable<Row> {
  const chromium = await BenchBrowser.open()
  try {
    const page: Page = await chromium.page()
    await page.evaluate(async () => {
      bench.machine = bench.ours()
      await bench.machine.boot()
    })
    yield await growth(chromium, `growth over ${RESETS} resets`, RESETS, () =>
      page.evaluate(() => bench.machine.reset()),
    )
    await page.evaluate(() => bench.machine.stop())
    yield await growth(chromium, `growth over ${BOOTS} boots`, BOOTS, () =>
      page.evaluate(async () => {
        const machine = bench.ours()
        await machine.boot()
        await machine.stop()
      }),
    )
  } finally {
    await chromium.close()
  }
}

export default { title: 'Memory in one tab of Chromium after many resets and boots', run } satisfies Benchmark
