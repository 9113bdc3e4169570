import { defineConfig } from '@playwright/test'
import { chromiumOptions } from './test/browser/chromium.ts'

export default defineConfig({
  testDir: 'test/browser',
  outputDir: 'test-results',
  globalSetup: './test/browser/build.ts',
  // Each test runs a computer of its own; two at a time would only measure each other.
  workers: 1,
  timeout: 240_000,
  expect: { timeout: 60_000 },
  forbidOnly: Boolean(process.env['CI']),
  reporter: [['list']],
  use: {
    browserName: 'chromium',
    colorScheme: 'dark',
    viewport: { width: 1100, height: 700 },
    launchOptions: chromiumOptions,
  },
})
