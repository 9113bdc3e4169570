/**
 * `npm run proof:export`: saves a disk of 2 GiB from the page, raw and as zst, in a real Chromium whose JavaScript heaps may
 * have 256 MiB, checks what comes out, and says how much memory the page's process took. Linux; the zstd program.
 */

import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { type BrowserContext, chromium, expect, type Page } from '@playwright/test'
import build from '../browser/build.ts'
import { chromiumOptions, usage } from '../browser/chromium.ts'
import { boot, outputOf } from '../browser/machine.ts'
import { serveSite } from '../browser/serve.ts'

const MIB = 2 ** 20
const SIZE = 2 ** 31
/** Pieces of noise, of a mebibyte each, are written so far apart. */
const APART = 256 * MIB

/** The most that any renderer held at once, in bytes, while `work` was done; none of it is shared with other processes. */
async function peakDuring<T>(context: BrowserContext, work: () => Promise<T>) {
  const session = await context.browser()!.newBrowserCDPSession()
  let peak = 0
  const look = async () => {
    const { processInfo } = await session.send('SystemInfo.getProcessInfo')
    for (const { id, type } of processInfo)
      if (type === 'renderer') peak = Math.max(peak, (await usage(id).catch(() => ({ memory: 0 }))).memory)
  }
  const timer = setInterval(() => void look().catch(() => {}), 50)
  try {
    await look()
    return { result: await work(), peak }
  } finally {
    clearInterval(timer)
    await session.detach()
  }
}

/** The SHA-256 of each piece of noise, and of everything else, which is to be zeroes. */
async function look(image: Readable) {
  const pieces = Array.from({ length: SIZE / APART }, () => createHash('sha256'))
  let at = 0
  for await (const chunk of image as AsyncIterable<Buffer>)
    for (let from = 0; from < chunk.length; ) {
      const inside = at % APART
      const noise = inside < MIB
      const length = Math.min(chunk.length - from, (noise ? MIB : APART) - inside)
      const part = chunk.subarray(from, from + length)
      if (noise) pieces[Math.floor(at / APART)]?.update(part)
      else expect(part.equals(Buffer.alloc(length)), `zeroes at ${at}`).toBe(true)
      from += length
      at += length
    }
  return { size: at, pieces: pieces.map(piece => piece.digest('hex')) }
}

const unpacked = (path: string) => spawn('zstd', ['-dc', path], { stdio: ['ignore', 'pipe', 'inherit'] }).stdout

const row = (page: Page) => page.locator('disks-panel section').filter({ hasText: 'large' })

const scratch = mkdtempSync(join(tmpdir(), 'ringlet-export-'))
await build()
const site = await serveSite()
// A context that is not kept would have its storage in memory.
const context = await chromium.launchPersistentContext(join(scratch, 'profile'), {
  ...chromiumOptions,
  args: [...chromiumOptions.args!, '--js-flags=--max-old-space-size=256'],
})
try {
  const page = context.pages()[0]!
  // Nobody is there to choose where a file goes: as in a browser without that dialog, it is downloaded.
  await page.addInitScript(() => Reflect.deleteProperty(window, 'showSaveFilePicker'))
  const machine = {
    ...{
      memory: 64,
      kernel: `${site.url}guest/bzImage`,
      initrd: `${site.url}guest/initramfs.cpio.zst`,
      cmdline: 'quiet',
    },
    devices: [{ type: 'block', size: SIZE / MIB, disk: 'large' }, { type: 'console' }, { type: 'entropy' }],
  }
  await page.route('**/large.json', route => route.fulfill({ json: machine }))
  await boot(page, `${site.url}?machine=large.json`)
  const numbers = Array.from({ length: SIZE / APART }, (_, i) => i * (APART / MIB)).join(' ')
  const written = await outputOf(
    page,
    `for i in ${numbers}; do head -c ${MIB} /dev/urandom > /tmp/n; dd if=/tmp/n of=/dev/vda bs=1M seek=$i conv=fsync status=none; sha256sum < /tmp/n | cut -c -64; done`,
  )
  await page.getByRole('tab', { name: 'Disks' }).click()
  await page.getByRole('button', { name: 'Power off' }).click()
  await page.getByRole('button', { name: 'Look again' }).click()
  await expect(row(page)).not.toContainText('In use')
  const before = await peakDuring(context, async () => {})
  console.log(`before: ${(before.peak / MIB).toFixed(0)} MiB`)
  for (const format of ['Save .img', 'Save .img.zst']) {
    const begun = Date.now()
    const { result: path, peak } = await peakDuring(context, async () => {
      const download = page.waitForEvent('download', { timeout: 600_000 })
      await row(page).getByRole('button', { name: format, exact: true }).click()
      return (await download).path()
    })
    const seconds = (Date.now() - begun) / 1000
    const { size, pieces } = await look(format.endsWith('zst') ? unpacked(path) : createReadStream(path))
    expect(size).toBe(SIZE)
    expect(pieces).toEqual(written.split('\n'))
    console.log(
      `${format}: right, in ${seconds.toFixed(0)} s, at most ${(peak / MIB).toFixed(0)} MiB in the page’s process`,
    )
  }
} finally {
  await context.close()
  await site.close()
  rmSync(scratch, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 })
}
