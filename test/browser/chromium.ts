import type { LaunchOptions } from '@playwright/test'

/** The system's Chromium; Playwright's own is never downloaded. */
export const chromiumOptions: LaunchOptions = {
  executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
  // Chromium's own sandbox cannot be set up by root.
  args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
}
