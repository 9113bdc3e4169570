import { createReadStream, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { grubDisk, isolinuxCd, needBootLoaders } from '../boot/media.ts'
import { atPrompt, outputOf, screen } from './machine.ts'
import { expect, test } from './site.ts'

const folder = mkdtempSync(join(tmpdir(), 'ringlet-bios-'))
test.beforeAll(needBootLoaders)
// Twenty times the instructions of a kernel’s own start.
test.setTimeout(900_000)
test.afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A file as a server gives it that knows ranges, to any site. */
const ranges = (path: string) => (request: IncomingMessage, response: ServerResponse) => {
  const open = { 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': 'Range' }
  const exposed = { ...open, 'Access-Control-Expose-Headers': 'Content-Range' }
  if (request.method === 'OPTIONS') return void response.writeHead(204, open).end()
  const { size } = statSync(path)
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
  if (from === undefined) return void response.writeHead(200, { ...exposed, 'Content-Length': size }).end()
  const [start, end] = [Number(from), Math.min(Number(to), size - 1)]
  response.writeHead(206, {
    ...exposed,
    'Content-Range': `bytes ${start}-${end}/${size}`,
    'Content-Length': end + 1 - start,
  })
  createReadStream(path, { start, end }).pipe(response)
}

test('an ISO boots from its URL, by SeaBIOS and isolinux, its text on the serial port', async ({
  page,
  site,
  elsewhere,
}) => {
  const path = join(folder, 'cd.iso')
  await isolinuxCd(path)
  await page.goto(`${site}?cdrom=${elsewhere.on('/cd.iso', ranges(path))}`)
  await expect.poll(() => screen(page), { timeout: 400_000 }).toMatch(/SeaBIOS \(version/)
  await atPrompt(page, 400_000)
  await page.locator('ringlet-terminal').click()
  expect(await outputOf(page, 'cat /proc/cmdline')).toMatch(/^BOOT_IMAGE=bzImage initrd=initramfs.cpio.zst/)
})

test('a raw disk that is dropped on the page boots by SeaBIOS and GRUB from virtio-blk', async ({ page, site }) => {
  const path = join(folder, 'disk.img')
  await grubDisk(path)
  await page.goto(site)
  await expect(page.getByRole('button', { name: /Boot Linux/ }).first()).toBeVisible()
  const bytes = readFileSync(path)
  await page.evaluate(() => Object.assign(window, { pieces: [] }))
  // In pieces, each of which fits in a message.
  for (let at = 0; at < bytes.length; at += 4 << 20)
    await page.evaluate(
      base64 =>
        (window as unknown as { pieces: Blob[] }).pieces.push(
          new Blob([Uint8Array.from(atob(base64), c => c.charCodeAt(0))]),
        ),
      bytes.subarray(at, at + (4 << 20)).toString('base64'),
    )
  await page.evaluate(() => {
    const data = new DataTransfer()
    data.items.add(new File((window as unknown as { pieces: Blob[] }).pieces, 'disk.img'))
    window.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }))
  })
  await atPrompt(page, 400_000)
  await page.locator('ringlet-terminal').click()
  expect(await outputOf(page, 'cat /proc/cmdline')).toMatch(
    /^BOOT_IMAGE=\(hd0,msdos1\)\/boot\/bzImage root=\/dev\/vda1/,
  )
})
