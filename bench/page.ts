import { chromium, type Page } from '@playwright/test'
import { build } from 'vite'
import { chromiumOptions, rendererOf, usage } from '../test/browser/chromium.ts'
import { atPrompt, type } from '../test/browser/machine.ts'
import { serveSite } from '../test/browser/serve.ts'
import { type Benchmark, row } from './harness/row.ts'

const runs = 5
const keys = 30
/** How long is looked at one thing, in milliseconds. */
const watch = 10_000

const pass = (page: Page, milliseconds: number) =>
  page.evaluate(time => new Promise(resolve => setTimeout(resolve, time)), milliseconds)

/** Collects the lengths of the page's long tasks from now on, in milliseconds. */
async function longTasks(page: Page) {
  const list = await page.evaluateHandle(() => {
    const lengths: number[] = []
    new PerformanceObserver(entries => {
      for (const entry of entries.getEntries()) lengths.push(entry.duration)
    }).observe({ type: 'longtask' })
    return lengths
  })
  return () => list.jsonValue()
}

/** From a key's event to its echo on the screen, in milliseconds. */
async function echoes(page: Page) {
  const list = await page.evaluateHandle(() => {
    const terminal = document.querySelector('ringlet-terminal') as unknown as HTMLElement & {
      write(bytes: Uint8Array): Promise<void>
    }
    const times: number[] = []
    let pressed = 0
    terminal.addEventListener('keydown', event => (pressed = event.timeStamp), { capture: true })
    const write = terminal.write
    terminal.write = async bytes => {
      await write.call(terminal, bytes)
      if (pressed) times.push(performance.now() - pressed)
      pressed = 0
    }
    return times
  })
  for (let i = 0; i < keys; i++) {
    await page.keyboard.press('x')
    await pass(page, 120)
  }
  return list.jsonValue()
}

/** Presses the button that boots, in the page; seconds until the shell's prompt is there. */
const toPrompt = (button: Element) =>
  new Promise<number>(resolve => {
    const began = performance.now()
    ;(button as HTMLElement).click()
    const timer = setInterval(() => {
      const terminal = document.querySelector('ringlet-terminal') as { lastLines?(count: number): string } | null
      if (!/# ?$/.test(terminal?.lastLines?.(5) ?? '')) return
      clearInterval(timer)
      resolve((performance.now() - began) / 1000)
    }, 5)
  })

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN

export default {
  title: 'The page while the guest works: its longest task, the echo of a key, and what an idle guest costs',
  async *run() {
    await build({ logLevel: 'silent' })
    const site = await serveSite()
    const browser = await chromium.launch(chromiumOptions)
    const longest: number[] = []
    const echo: number[] = []
    const idle: number[] = []
    const start: number[] = []
    try {
      for (let run = 1; run <= runs; run++) {
        process.stderr.write(`page: run ${run} of ${runs}\n`)
        const page = await browser.newPage()
        await page.goto(site.url)
        const button = page.getByRole('button', { name: /Boot Linux/ }).first()
        start.push(await button.evaluate(toPrompt))
        await atPrompt(page)
        await page.locator('ringlet-terminal').click()

        const pid = await rendererOf(browser)
        await pass(page, 3000)
        const before = (await usage(pid)).seconds
        const began = performance.now()
        await pass(page, watch)
        idle.push(((await usage(pid)).seconds - before) / ((performance.now() - began) / 100_000))

        await type(page, 'while :; do :; done &')
        await pass(page, 1000)
        const tasks = await longTasks(page)
        echo.push(median(await echoes(page)))
        await pass(page, watch)
        // A task under 50 ms is not reported at all.
        longest.push(Math.max(0, ...(await tasks())))
        await page.close()
      }
    } finally {
      await browser.close()
      await site.close()
    }
    yield row({ what: 'longest task over 50 ms, guest at 100 %', unit: 'ms', ours: longest, target: { atMost: 50 } })
    yield row({ what: 'key to echo, guest at 100 %', unit: 'ms', ours: echo, target: { atMost: 50 } })
    yield row({ what: 'from the click on “Boot Linux” to the prompt', unit: 's', ours: start })
    yield row({ what: 'an idle guest, of one core', unit: '%', ours: idle, target: { atMost: 5 } })
  },
} satisfies Benchmark
