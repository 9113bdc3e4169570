import { BenchBrowser } from './harness/browser.ts'
import { type Benchmark, compare, type Row, row } from './harness/row.ts'
import type { Bench } from './page/page.ts'
import type { Schedule } from './page/yields.ts'

declare const bench: Bench
/** Seconds of doing nothing. */
const IDLE = 10

async function* run(): AsyncIterable<Row> {
  const chromium = await BenchBrowser.open()
  try {
    const measured = (schedule: Schedule, program: 'busy' | 'wake') => async () => {
      const page = await chromium.page()
      const result = await page.evaluate(([who, what]) => bench.yields(who, what), [schedule, program] as const)
      await page.close()
      return result
    }
    yield await compare({
      what: 'a CPU that never rests, against v86’s own yield',
      unit: 'million rounds/s',
      ours: measured('ours', 'busy'),
      peer: measured('v86', 'busy'),
    })
    yield await compare({
      what: 'from an interrupt to its handler in a sleeping CPU',
      unit: 'ms',
      ours: measured('ours', 'wake'),
      peer: measured('v86', 'wake'),
    })
    yield row({ what: 'an idle guest', unit: '% of a core', ours: await idle(chromium), target: { atMost: 5 } })
  } finally {
    await chromium.close()
  }
}

/** What the guest's page uses of a core while the shell waits, by Chromium's own account. */
async function idle(chromium: BenchBrowser): Promise<number[]> {
  const page = await chromium.page()
  await page.evaluate(() => bench.ours().boot())
  const session = await chromium.browser.newBrowserCDPSession()
  const renderers = async () => {
    const { processInfo } = await session.send('SystemInfo.getProcessInfo')
    return processInfo.filter(({ type }) => type === 'renderer').reduce((sum, { cpuTime }) => sum + cpuTime, 0)
  }
  await page.waitForTimeout(3000)
  const shares: number[] = []
  for (let run = 0; run < 3; run++) {
    const before = await renderers()
    await page.waitForTimeout(IDLE * 1000)
    shares.push(((await renderers()) - before) * (100 / IDLE))
  }
  await page.close()
  return shares
}

export default {
  title: 'Our scheduler against v86’s own, and what an idle guest costs, in Chromium',
  run,
} satisfies Benchmark
