import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium, type Page } from '@playwright/test'
import { build } from 'vite'
import { chromiumOptions } from '../test/browser/chromium.ts'
import { serveSite } from '../test/browser/serve.ts'
import { type Benchmark, row } from './harness/row.ts'

const runs = 5
/** What a quiet machine may take from the address to the login, in seconds. */
const COLD = 15
const WARM = COLD / 2

/** Seconds until the login prompt is on the screen, from before the page is loaded. */
async function toLogin(page: Page, load: () => Promise<unknown>) {
  const started = performance.now()
  await load()
  await page.waitForFunction(
    () => {
      const terminal = document.querySelector('ringlet-terminal') as { lastLines?(count: number): string } | null
      return /login: ?$/.test(terminal?.lastLines?.(50) ?? '')
    },
    undefined,
    { polling: 20, timeout: 300_000 },
  )
  return (performance.now() - started) / 1000
}

export default {
  title: 'Debian from its chunked disk to the login prompt, in Chromium on loopback',
  async *run() {
    if (!existsSync('public/debian/machine.json'))
      throw new Error('There is no Debian disk yet: "npm run guest:debian" builds it.')
    await build({ logLevel: 'silent' })
    const site = await serveSite()
    const [cold, warm]: [number[], number[]] = [[], []]
    try {
      for (let run = 1; run <= runs; run++) {
        process.stderr.write(`debian: run ${run} of ${runs}\n`)
        const profile = mkdtempSync(join(tmpdir(), 'ringlet-debian-'))
        const context = await chromium.launchPersistentContext(profile, chromiumOptions)
        try {
          const page = context.pages()[0] ?? (await context.newPage())
          cold.push(await toLogin(page, () => page.goto(`${site.url}?machine=debian/machine.json`)))
          warm.push(await toLogin(page, () => page.reload()))
        } finally {
          await context.close()
          rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 })
        }
      }
    } finally {
      await site.close()
    }
    yield row({ what: 'cold: empty caches, new disk', unit: 's', ours: cold, target: { atMost: COLD } })
    yield row({ what: 'warm: chunks cached, after a reload', unit: 's', ours: warm, target: { atMost: WARM } })
  },
} satisfies Benchmark
