/** Two tabs of one Chromium as a user has them: a guest in each, and only one of them to be seen. */

import puppeteer, { type Browser, type Page } from 'puppeteer-core'
import { needChromium } from '../../test/chromium.ts'
import type { Bench } from '../page/page.ts'
import { Tab, UP } from './tab.ts'

declare const bench: Bench
declare const guests: { run(command: string): Promise<string> }

/** What tools give a Chromium for their tests, and no user has: with it the timers of hidden tabs are as good as any. */
const FOR_TESTS = [
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
]
const ROUNDS = 30_000
/** In the guest, by its own clock: what a hidden page shows comes up to a second late. */
const COUNT = `b=$(cut -d' ' -f1 /proc/uptime); i=0; while [ $i -lt ${ROUNDS} ]; do i=$((i+1)); done; echo $b $(cut -d' ' -f1 /proc/uptime)`

export class TwoTabs {
  private constructor(
    private readonly browser: Browser,
    private readonly pages: readonly [Page, Page],
    /** Its page is shown. */
    readonly shown: Tab,
    readonly hidden: Tab,
    /** Of the hidden one's guest. */
    readonly address: string,
  ) {}

  /** Both with their cards on one LAN, and an iperf3 server in the hidden one. */
  static async open(url: string, initrd: string): Promise<TwoTabs> {
    const browser = await puppeteer.launch({
      ...{ executablePath: needChromium(), ignoreDefaultArgs: FOR_TESTS },
      args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
    })
    const pages = [await boot(browser, url, initrd), await boot(browser, url, initrd)] as const
    const pids = await processes(browser)
    const [shown, hidden] = pages.map(page => {
      const run = (command: string) => page.evaluate(command => guests.run(command), command)
      return new Tab(run, pids, () => page.close())
    }) as [Tab, Tab]
    for (const tab of [hidden, shown]) await tab.run(UP)
    const address = await hidden.address()
    await hidden.run('iperf3 -s -D')
    const tabs = new TwoTabs(browser, pages, shown, hidden, address)
    await tabs.see(shown)
    return tabs
  }

  /** Rounds a second of a loop in the hidden tab's guest: in front, and behind the other. */
  async loops(): Promise<{ readonly front: number; readonly behind: number }> {
    await this.see(this.hidden)
    const front = await loop(this.hidden)
    await this.see(this.shown)
    return { front, behind: await loop(this.hidden) }
  }

  /** Brings one to the front, so that the other is hidden. */
  private async see(tab: Tab) {
    const [first, second] = tab === this.shown ? this.pages : this.pages.toReversed()
    await first!.bringToFront()
    await second!.waitForFunction(() => document.visibilityState === 'hidden')
  }

  close() {
    return this.browser.close()
  }
}

async function boot(browser: Browser, url: string, initrd: string) {
  const page = await browser.newPage()
  await page.goto(`${url}index.html`)
  await page.evaluate(async initrd => {
    const machine = bench.ours()
    await machine.boot({ initrd, devices: [{ type: 'console' }, { type: 'entropy' }, { type: 'net', link: 'lan' }] })
    Object.assign(globalThis, { guests: machine })
  }, initrd)
  return page
}

async function loop(tab: Tab) {
  const [begin, end] = (await tab.run(COUNT)).split(' ').map(Number)
  return ROUNDS / (end! - begin!)
}

/** Every process of the browser: what goes from tab to tab goes through its own. */
async function processes(browser: Browser) {
  const session = await browser.target().createCDPSession()
  const { processInfo } = await session.send('SystemInfo.getProcessInfo')
  await session.detach()
  return processInfo.map(({ id }) => id)
}
