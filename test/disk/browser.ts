import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Browser, chromium, type Page } from '@playwright/test'
import { needChromium } from '../chromium.ts'

/** A browser that can be killed like a power switch would, and started again on what it left. */
export class MortalBrowser {
  page!: Page
  /** Says why the last one ended by itself, if it did. */
  ended: string | undefined
  private child: ChildProcess | undefined
  private browser: Browser | undefined

  constructor(
    /** Where its profile is. */
    readonly profile: string,
    private readonly url: string,
  ) {}

  get running() {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null
  }

  async start() {
    for (const left of ['DevToolsActivePort', 'SingletonLock', 'SingletonCookie', 'SingletonSocket'])
      rmSync(join(this.profile, left), { force: true })
    this.child = spawn(
      needChromium(),
      [
        ...['--headless=new', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--disable-extensions'],
        ...['--disable-component-update', '--disable-background-networking', '--remote-debugging-port=0'],
        ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []), // which root cannot set up
        `--user-data-dir=${this.profile}`,
        'about:blank',
      ],
      { detached: true, stdio: 'ignore' },
    )
    const port = await waitFor('the browser', 120, () => {
      if (!this.running) throw new Error('the browser ended while it started')
      try {
        // The file is there before its content is.
        return readFileSync(join(this.profile, 'DevToolsActivePort'), 'utf8').split('\n')[0] || undefined
      } catch {
        return undefined
      }
    })
    this.browser = await chromium.connectOverCDP(`http://127.0.0.1:${port}`, { timeout: 120_000 })
    this.page = await this.browser.contexts()[0]!.newPage()
    this.page.setDefaultTimeout(300_000)
    await this.page.goto(this.url)
    await this.page.waitForFunction('window.ringlet')
  }

  /** Every process of it at once: nothing is told, nothing is written any more. */
  kill(): Promise<void> {
    const { child } = this
    this.child = undefined
    if (!child || child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
    const gone = new Promise<void>(resolve => child.once('exit', () => resolve()))
    process.kill(-child.pid!, 'SIGKILL')
    return gone
  }
}

/** Looks until something is there. Fails after so many seconds. */
export async function waitFor<T>(
  what: string,
  seconds: number,
  look: () => T | undefined | Promise<T | undefined>,
): Promise<T> {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await new Promise(done => setTimeout(done, 50))) {
    const found = await look()
    if (found !== undefined && found !== false) return found
  }
  throw new Error(`${what}: nothing came in ${seconds} s`)
}
