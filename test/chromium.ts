import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chromium } from '@playwright/test'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']

/** Where a Chromium is: the system's, or the one Playwright installed. */
export function findChromium(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(':')
  const installed = NAMES.flatMap(name => folders.map(folder => `${folder}/${name}`)).find(existsSync)
  if (installed) return installed
  const own = chromium.executablePath()
  return existsSync(own) ? own : undefined
}

/** The same, installing it first where that is ours to do: on Debian as root. Fails with what the user can do. */
export function needChromium(): string {
  const found = findChromium()
  if (found) return found
  if (existsSync('/etc/debian_version') && process.getuid?.() === 0) {
    execFileSync('apt-get', ['update', '-q'], { stdio: 'inherit' })
    execFileSync('apt-get', ['install', '-y', '-q', '--no-install-recommends', 'chromium'], { stdio: 'inherit' })
    const now = findChromium()
    if (now) return now
  }
  throw new Error(
    'There is no Chromium to test in: install your system’s package, or run `npx playwright install chromium`.',
  )
}
