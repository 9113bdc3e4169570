import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { gunzipSync, gzipSync } from 'node:zlib'
import { Zstd } from '@hpcc-js/wasm-zstd'
import type { Locator, Page } from '@playwright/test'
import { boot, outputOf } from './machine.ts'
import { expect, test } from './site.ts'

const MIB = 2 ** 20
/** A disk of 4 MiB, most of it zeroes. */
const image = Buffer.alloc(4 * MIB)
randomBytes(5000).copy(image, MIB + 100)

const row = (page: Page, name: string) =>
  page.locator('disks-panel section').filter({ has: page.getByRole('heading', { name, exact: true }) })
const status = (page: Page) => page.locator('disks-panel [role=status]')

/** Opens a machine with a kept disk, and the panel of disks beside it. */
async function openPanel(page: Page, site: string, machine: string) {
  await boot(page, `${site}?machine=${encodeURIComponent(machine)}`)
  const tab = page.getByRole('tab', { name: 'Disks' })
  if (!(await tab.isVisible()))
    await page
      .getByRole('button', { name: /panels/i })
      .first()
      .click()
  await tab.click()
}

/** What a dialog of the browser is answered; the last one asked is kept. */
const answer = (page: Page, text: string) => page.once('dialog', dialog => void dialog.accept(text))

async function copyIn(page: Page, file: string, bytes: Buffer, name: string) {
  answer(page, name)
  const chooser = page.waitForEvent('filechooser')
  await page.getByRole('button', { name: 'Copy an image in …' }).click()
  await (await chooser).setFiles({ name: file, mimeType: 'application/octet-stream', buffer: bytes })
  await expect(row(page, name)).toBeVisible()
}

async function saved(page: Page, disk: Locator, button: string) {
  const download = page.waitForEvent('download')
  await disk.getByRole('button', { name: button, exact: true }).click()
  return readFileSync(await (await download).path())
}

test('disks are copied in from every format, saved, renamed, reset and deleted; one in use is left alone', async ({
  page,
  site,
}) => {
  // A headless browser has nobody to choose where a file goes: as in one without the dialog, it is downloaded.
  await page.addInitScript(() => Reflect.deleteProperty(window, 'showSaveFilePicker'))
  const machine = {
    ...{ name: 'Keeper', memory: 64, kernel: `${site}guest/bzImage`, initrd: `${site}guest/initramfs.cpio.zst` },
    cmdline: 'quiet',
    devices: [{ type: 'block', size: 8, disk: 'kept' }, { type: 'console' }, { type: 'entropy' }],
  }
  await page.route('**/machines/kept.json', route => route.fulfill({ json: machine }))
  await openPanel(page, site, 'machines/kept.json')

  await expect(row(page, 'kept')).toContainText('In use by a machine')
  await expect(row(page, 'kept').getByRole('button', { name: 'Delete' })).toBeDisabled()
  await outputOf(
    page,
    'head -c 100000 /dev/urandom > /tmp/x && dd if=/tmp/x of=/dev/vda bs=4096 conv=notrunc,fsync 2>/dev/null',
  )
  const sum = (await outputOf(page, 'head -c 100000 /dev/vda | sha256sum')).slice(0, 64)

  const zstd = await Zstd.load()
  const formats = { 'a.img': image, 'b.img.gz': gzipSync(image), 'c.img.zst': Buffer.from(zstd.compress(image)) }
  for (const [file, bytes] of Object.entries(formats)) await copyIn(page, file, bytes, file)
  const qcow2 = gunzipSync(readFileSync(new URL('../disk/qcow2/compressed.qcow2.gz', import.meta.url)))
  await copyIn(page, 'd.qcow2', qcow2, 'd.qcow2')
  await expect(row(page, 'a.img')).toContainText('4.2 MB, of which 8.2 kB are kept here')
  await expect(row(page, 'd.qcow2')).toContainText('1.0 MB, of which 21 kB are kept here (OPFS).')
  await page.screenshot({ path: test.info().outputPath('disks.png') })

  for (const file of Object.keys(formats))
    expect(image.equals(await saved(page, row(page, file), 'Save .img'))).toBe(true)
  const packed = await saved(page, row(page, 'b.img.gz'), 'Save .img.zst')
  expect(packed.length).toBeLessThan(MIB / 10)
  await copyIn(page, 'again.img.zst', packed, 'again')
  expect(image.equals(await saved(page, row(page, 'again'), 'Save .img'))).toBe(true)

  answer(page, 'a.img')
  await row(page, 'c.img.zst').getByRole('button', { name: 'Rename' }).click()
  await expect(status(page)).toContainText('there is a disk "a.img" already')
  answer(page, 'renamed')
  await row(page, 'c.img.zst').getByRole('button', { name: 'Rename' }).click()
  await expect(row(page, 'renamed')).toBeVisible()
  await expect(row(page, 'c.img.zst')).toHaveCount(0)

  await row(page, 'renamed').getByRole('button', { name: 'Reset' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click()
  await expect(row(page, 'renamed')).toContainText('of which 8.2 kB are kept here')
  await row(page, 'renamed').getByRole('button', { name: 'Reset' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Reset it' }).click()
  await expect(row(page, 'renamed')).toContainText('of which 0 B are kept here')
  expect(Buffer.alloc(4 * MIB).equals(await saved(page, row(page, 'renamed'), 'Save .img'))).toBe(true)

  await row(page, 'renamed').getByRole('button', { name: 'Delete' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Delete it' }).click()
  await expect(row(page, 'renamed')).toHaveCount(0)

  // Something that is no image is refused, and nothing is left of it.
  answer(page, 'broken')
  const chooser = page.waitForEvent('filechooser')
  await page.getByRole('button', { name: 'Copy an image in …' }).click()
  await (await chooser).setFiles({
    name: 'e.img.gz',
    mimeType: 'application/gzip',
    buffer: gzipSync(image).subarray(0, 3000),
  })
  await expect(status(page)).toContainText('damaged or cut short')
  await expect(row(page, 'broken')).toHaveCount(0)

  await page.getByRole('button', { name: 'Power off' }).click()
  await page.getByRole('button', { name: 'Look again' }).click()
  await expect(row(page, 'kept')).not.toContainText('In use')
  const written = await saved(page, row(page, 'kept'), 'Save .img')
  expect(written.length).toBe(8 * MIB)
  const digest = await crypto.subtle.digest('SHA-256', written.subarray(0, 100_000))
  expect(Buffer.from(digest).toString('hex')).toBe(sum)
})

test('a disk grows under its running machine, which sees it at once, and stays so; and while nobody has it', async ({
  page,
  site,
}) => {
  const machine = {
    ...{ name: 'Grower', memory: 64, kernel: `${site}guest/bzImage`, initrd: `${site}guest/initramfs.cpio.zst` },
    cmdline: 'quiet',
    devices: [{ type: 'block', size: 8, disk: 'growing' }, { type: 'console' }, { type: 'entropy' }],
  }
  await page.route('**/machines/grower.json', route => route.fulfill({ json: machine }))
  const sectors = () => outputOf(page, 'cat /sys/block/vda/size')
  const grow = async (to: string) => {
    answer(page, to)
    await row(page, 'growing').getByRole('button', { name: 'Grow' }).click()
  }
  await openPanel(page, site, 'machines/grower.json')
  expect(await sectors()).toBe('16384')
  await outputOf(page, 'mkfs.ext4 -q /dev/vda && mkdir -p /mnt && mount /dev/vda /mnt && echo kept > /mnt/kept && sync')
  await grow('24 MiB')
  await expect(row(page, 'growing')).toContainText('25 MB')
  await page.locator('ringlet-terminal').click()
  await expect.poll(sectors).toBe('49152')
  // The new room reads as zeroes, and can be written to its last byte.
  const tail = 'dd if=/dev/vda bs=1M skip=8 status=none | tr -d "\\0" | wc -c'
  expect(await outputOf(page, tail)).toBe('0')
  await outputOf(page, 'echo -n end | dd of=/dev/vda bs=1 seek=$((24*1048576-3)) conv=fsync status=none')
  expect(await outputOf(page, tail)).toBe('3')

  await grow('24 MiB')
  await expect(status(page)).toContainText('“growing” has 25 MB already, and a disk never shrinks: say more than that.')
  await grow('much')
  await expect(status(page)).toContainText('“much” is no size')
  await grow('3 TiB')
  await expect(status(page)).toContainText('2 TiB at the most')

  await page.getByRole('button', { name: 'Power off' }).click()
  await page.getByRole('button', { name: 'Look again' }).click()
  await expect(row(page, 'growing')).not.toContainText('In use')
  await grow('0,03 GiB')
  await expect(row(page, 'growing')).toContainText('32 MB')
  await openPanel(page, site, 'machines/grower.json')
  expect(await sectors()).toBe(String(Math.ceil((0.03 * 2 ** 30) / 4096) * 8))
  expect(
    await outputOf(
      page,
      'mkdir -p /mnt && mount /dev/vda /mnt && cat /mnt/kept; tail -c +$((24*1048576-2)) /dev/vda | head -c 3',
    ),
  ).toBe('kept\nend')
})
