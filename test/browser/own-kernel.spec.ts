import { readFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import type { Page } from '@playwright/test'
import { atPrompt, outputOf, state } from './machine.ts'
import { expect, test } from './site.ts'

const guest = (name: string) => readFile(new URL(`../../public/guest/${name}`, import.meta.url))

/** Drops files on the page; `files` are fetched by name from the guest's folder, or are text. */
async function drop(page: Page, files: Readonly<Record<string, string | undefined>>) {
  const data = await page.evaluateHandle(async named => {
    const data = new DataTransfer()
    for (const [name, text] of Object.entries(named))
      data.items.add(new File([text ?? (await (await fetch(`guest/${name}`)).blob())], name))
    return data
  }, files)
  const hint = page.locator('.drop-here')
  // Over and over, as a browser does while something is held over the page.
  await expect(async () => {
    await page.dispatchEvent('body', 'dragover', { dataTransfer: data })
    await expect(hint).toBeVisible({ timeout: 1000 })
  }).toPass()
  await page.dispatchEvent('body', 'drop', { dataTransfer: data })
  await expect(hint).toBeHidden()
}

test('the form boots a kernel by its URL, by keyboard alone, and its address boots it again', async ({
  page,
  site,
}) => {
  await page.goto(site)
  await page.locator('own-kernel [name=kernel]').focus()
  const write = async (text: string) => {
    await page.keyboard.press('Control+a')
    await page.keyboard.insertText(text)
  }
  await write(`${site}guest/bzImage`)
  await page.keyboard.press('Tab')
  await page.keyboard.press('Tab') // over the button that picks a file
  await write('guest/initramfs.cpio.zst')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Tab')
  await write('quiet own.word')
  await page.keyboard.press('Tab')
  await write('96')
  await page.keyboard.press('Tab')
  await expect(page.getByLabel('Transport')).toBeFocused()
  await page.keyboard.type('PCI, t')
  await expect(page.getByLabel('Transport')).toHaveValue('pci-transitional')
  await expect(page.getByText('Both PCI faces on one device')).toBeVisible()
  await page.keyboard.press('Tab')
  await expect(page.getByRole('button', { name: 'Boot this kernel' })).toBeFocused()
  await page.keyboard.press('Enter')

  await atPrompt(page)
  const wanted = async () => {
    expect(await outputOf(page, 'cat /proc/cmdline')).toContain('quiet own.word')
    expect(await outputOf(page, "awk '/MemTotal/ { print ($2 > 65536) * ($2 < 98304) }' /proc/meminfo")).toBe('1')
    expect(await outputOf(page, 'readlink /sys/bus/virtio/devices/virtio0')).toContain('/pci0000:00/')
  }
  await wanted()
  expect(Object.fromEntries(new URL(page.url()).searchParams)).toEqual({
    kernel: `${site}guest/bzImage`,
    initrd: 'guest/initramfs.cpio.zst',
    cmdline: 'quiet own.word',
    memory: '96',
    transport: 'pci-transitional',
  })
  await page.reload()
  await atPrompt(page)
  await wanted()
})

test('a dropped kernel and initrd are shown, and boot', async ({ page, site }) => {
  await page.goto(site)
  await drop(page, { bzImage: undefined, 'initramfs.cpio.zst': undefined })
  const form = page.locator('own-kernel')
  const megabytes = async (name: string) => `${((await guest(name)).length / 1e6).toFixed(1)} MB`
  for (const name of ['bzImage', 'initramfs.cpio.zst'])
    await expect(form.locator('.picked', { hasText: name })).toContainText(await megabytes(name))
  await expect(form.getByRole('button', { name: 'Boot this kernel' })).toBeFocused()
  await form.getByRole('button', { name: 'Do not use bzImage' }).click()
  await expect(form.locator('[name=kernel]')).toBeFocused()
  await form.locator('[name=cmdline]').fill('quiet')
  await form.locator('#kernel-file').setInputFiles({
    ...{ name: 'picked', mimeType: '', buffer: await guest('bzImage') },
  })
  await form.getByRole('button', { name: 'Boot this kernel' }).click()
  await atPrompt(page)
  await expect(page).toHaveTitle(/^Running · picked/)
  expect(new URL(page.url()).search).toBe('')
})

test('a dropped machine description boots with the files dropped beside it', async ({ page, site }) => {
  await page.goto(site)
  await drop(page, { 'mine.json': '{ "kernel": 7 }' })
  await expect(page.getByRole('alert')).toContainText('kernel')
  const machine = {
    name: 'Mine',
    memory: 64,
    cmdline: 'quiet',
    kernel: 'file:bzImage',
    initrd: 'file:initramfs.cpio.zst',
  }
  await drop(page, { 'mine.json': JSON.stringify(machine), bzImage: undefined })
  await expect(page.getByRole('alert')).toContainText('There is no file initramfs.cpio.zst for the initrd')
  await page.getByRole('button', { name: 'Back to the start' }).last().click()
  await drop(page, { 'mine.json': JSON.stringify(machine), bzImage: undefined, 'initramfs.cpio.zst': undefined })
  await atPrompt(page)
  await expect(page).toHaveTitle(/^Running · Mine/)
})

test('the form says what is missing, at the field', async ({ page, site }) => {
  await page.goto(site)
  const form = page.locator('own-kernel')
  await form.getByRole('button', { name: 'Boot this kernel' }).click()
  await expect(form.getByRole('alert')).toContainText('Give the kernel’s URL, or choose a file')
  await expect(form.locator('[name=kernel]')).toBeFocused()
  await form.locator('[name=kernel]').fill('guest/bzImage')
  await form.getByLabel('Memory').fill('7')
  await page.keyboard.press('Enter')
  await expect(form.getByRole('alert')).toContainText('memory: must be at least 8')
  await expect(form.getByLabel('Memory')).toBeFocused()
})

test('every download shows its bytes, and of how many where the server says', async ({ page, site, elsewhere }) => {
  const sends: ((rest: number) => void)[] = []
  const slowly = (headers: Record<string, string>) => (_: unknown, response: ServerResponse) => {
    response.writeHead(200, { 'Access-Control-Allow-Origin': '*', ...headers })
    response.write(Buffer.alloc(1_500_000, 1))
    sends.push(bytes => void response.write(Buffer.alloc(bytes, 1)))
  }
  const query = new URLSearchParams({
    kernel: elsewhere.on('/slow-kernel', slowly({ 'Content-Length': '6000000' })),
    initrd: elsewhere.on('/slow-initrd', slowly({})),
  })
  await page.goto(`${site}?${query}`)
  const line = (what: string) => page.locator('boot-progress li', { hasText: what })
  await expect(line('kernel')).toContainText('downloading · 1.5 MB of 6.0 MB')
  await expect(line('initrd')).toContainText('downloading · 1.5 MB')
  await expect(line('initrd')).not.toContainText(' of ')
  await expect(line('kernel').getByRole('progressbar')).toHaveJSProperty('position', 0.25)
  await expect(line('initrd').getByRole('progressbar')).toHaveJSProperty('position', -1)
  for (const send of sends) send(1_500_000)
  await expect(line('kernel')).toContainText('downloading · 3.0 MB of 6.0 MB')
  await expect(line('initrd')).toContainText('downloading · 3.0 MB')
  await expect(state(page)).toHaveText('Loading')
  await page.getByRole('button', { name: 'Power off' }).click()
  await expect(state(page)).toHaveText('Powered off')
})
