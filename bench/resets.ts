import { readFile } from 'node:fs/promises'
import { type Browser, chromium, type Page } from '@playwright/test'
import { build } from 'vite'
import { chromiumOptions } from '../test/browser/chromium.ts'
import { atPrompt, outputOf, prompt, screen } from '../test/browser/machine.ts'
import { serveSite } from '../test/browser/serve.ts'
import { type Benchmark, median, type Row } from './harness/row.ts'

const RESETS = 100
const BOOTS = 20
/** The first ones fill caches and pages that are used again. */
const FIRST = 5

/** Kilobytes the renderers hold once their garbage is collected, by the operating system's account. */
async function memory(browser: Browser, page: Page): Promise<number> {
  await collectGarbage(page)
  const session = await browser.newBrowserCDPSession()
  const { processInfo } = await session.send('SystemInfo.getProcessInfo')
  await session.detach()
  const sizes = await Promise.all(processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => kilobytes(id)))
  return sizes.reduce((sum, size) => sum + size, 0)
}

/** Of the page and of its workers, each of which has a heap of its own. */
async function collectGarbage(page: Page) {
  const tab = await page.context().newCDPSession(page)
  const workers: string[] = []
  tab.on('Target.attachedToTarget', ({ sessionId }) => workers.push(sessionId))
  await tab.send('Target.setAutoAttach', { autoAttach: true, waitForDebuggerOnStart: false, flatten: false })
  for (const sessionId of workers) {
    const collected = new Promise(resolve => tab.once('Target.receivedMessageFromTarget', resolve))
    const message = JSON.stringify({ id: 1, method: 'HeapProfiler.collectGarbage' })
    await tab.send('Target.sendMessageToTarget', { sessionId, message })
    await collected
  }
  await tab.send('HeapProfiler.collectGarbage')
  await tab.detach()
}

/** What a process has for itself, and its share of what it shares. */
async function kilobytes(pid: number): Promise<number> {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '')
  return Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0)
}

/** Grown by so much, of what it was after the first five: medians of the following five and of the last five. */
async function growth(
  what: string,
  times: number,
  again: () => Promise<void>,
  size: () => Promise<number>,
): Promise<Row> {
  const sizes: number[] = []
  for (let count = 1; count <= times; count++) {
    await again()
    sizes.push(await size())
    process.stderr.write(`${what}: ${count} of ${times}, ${Math.round(sizes.at(-1)! / 1024)} MiB\n`)
  }
  const early = median(sizes.slice(FIRST, 2 * FIRST))
  const late = median(sizes.slice(-FIRST))
  return { what, ours: ((late - early) / early) * 100, unit: '% of memory', target: { atMost: 5 } }
}

/** Waits for the prompt of the next boot: the screen is cleared for it, so the mark of this one goes. */
async function anew(page: Page, press: () => Promise<void>) {
  await outputOf(page, 'echo "the ""one before"')
  await press()
  for (let waited = 0; (await screen(page)).includes('the one before') && waited < 600; waited++)
    await page.waitForTimeout(50)
  for (let waited = 0; !prompt.test(await screen(page)) && waited < 1200; waited++) await page.waitForTimeout(50)
}

async function* run(): AsyncIterable<Row> {
  await build({ logLevel: 'silent' })
  const site = await serveSite()
  const browser = await chromium.launch(chromiumOptions)
  try {
    const page = await browser.newPage({ viewport: { width: 1000, height: 700 } })
    const size = () => memory(browser, page)
    const button = (name: string | RegExp) =>
      page.locator('machine-bar, start-screen').getByRole('button', { name }).first()
    await page.goto(site.url)
    await button(/^Boot Linux/).click()
    await atPrompt(page)
    const reset = () => anew(page, () => button('Reset').click())
    yield await growth(`growth over ${RESETS} resets`, RESETS, reset, size)
    const boot = () =>
      anew(page, async () => {
        await button('Back to the start').click()
        await button(/^Boot Linux/).click()
      })
    yield await growth(`growth over ${BOOTS} boots`, BOOTS, boot, size)
  } finally {
    await browser.close()
    await site.close()
  }
}

export default {
  title: 'Memory of the page in one tab of Chromium after many resets and boots',
  run,
} satisfies Benchmark
