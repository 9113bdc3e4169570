import { readFile } from 'node:fs/promises'
import type { Browser, LaunchOptions } from '@playwright/test'

/** The system's Chromium; Playwright's own is never downloaded. */
export const chromiumOptions: LaunchOptions = {
  executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
  // Chromium's own sandbox cannot be set up by root.
  args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
}

/** What a process of the system holds and has used: bytes of memory that is only its own, seconds of processor. */
export async function usage(pid: number) {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const own = Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024
  // After the command in parentheses, which may have spaces, come the fields from the third on; 100 ticks a second.
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /, '').split(' ')
  return { memory: own, seconds: (Number(fields[11]) + Number(fields[12])) / 100 }
}

/** The renderer that holds the most: the one with a computer in it. Linux only. */
export async function rendererOf(browser: Browser) {
  const session = await browser.newBrowserCDPSession()
  const { processInfo } = await session.send('SystemInfo.getProcessInfo')
  await session.detach()
  const renderers = await Promise.all(
    processInfo.filter(({ type }) => type === 'renderer').map(async ({ id }) => ({ id, ...(await usage(id)) })),
  )
  const [largest] = renderers.sort((a, b) => b.memory - a.memory)
  if (!largest) throw new Error('Chromium has no renderer')
  return largest.id
}
