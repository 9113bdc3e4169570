import puppeteer from 'puppeteer-core'
import { findFirefox } from '../firefox.ts'
import { prompt } from './machine.ts'
import { expect, served as test } from './site.ts'

const executablePath = findFirefox()
if (!executablePath) console.warn('NOT TESTED IN FIREFOX: there is none. On Debian: apt-get install firefox-esr')

for (const { transport, bus } of [
  { transport: 'mmio', bus: '/virtio-mmio.0/' },
  { transport: 'pci', bus: '/pci0000:00/' },
]) {
  test(`Firefox boots the same page to a prompt on ${transport}`, async ({ site }) => {
    test.skip(!executablePath, 'There is no Firefox: on Debian, apt-get install firefox-esr')
    const browser = await puppeteer.launch({
      ...{ browser: 'firefox' as const, executablePath: executablePath!, headless: true },
      defaultViewport: { width: 1100, height: 700 },
    })
    try {
      const page = await browser.newPage()
      const faults: string[] = []
      page.on('pageerror', error => faults.push(String(error)))
      page.on('console', message => message.type() === 'error' && faults.push(message.text()))
      const screen = () =>
        page.evaluate(() => {
          const terminal = document.querySelector('ringlet-terminal') as unknown as {
            lastLines(count: number): string
          } | null
          return terminal?.lastLines(200) ?? ''
        })
      const says = (pattern: RegExp) => expect.poll(screen, { timeout: 120_000 }).toMatch(pattern)

      await page.goto(`${site}?machine=machines/default.json&transport=${transport}`)
      await says(prompt)
      await page.keyboard.type('echo $((6 * 7)) $(readlink /sys/bus/virtio/devices/virtio0)')
      await page.keyboard.press('Enter')
      await says(new RegExp(`^42 .*${bus}`, 'm'))
      await page.keyboard.type('head -c 24 /dev/hwrng | xxd -p')
      await page.keyboard.press('Enter')
      await says(/^[0-9a-f]{48}$/m)
      expect(faults).toEqual([])
    } finally {
      await browser.close()
    }
  })
}
