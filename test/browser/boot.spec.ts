import { atPrompt, boot, outputOf, terminalSize } from './machine.ts'
import { serveSite } from './serve.ts'
import { expect, test } from './site.ts'

/** Bit 32 of the features, VERSION_1, is how a guest and we agree on virtio 1. */
const transports = [
  { transport: 'mmio', modern: true },
  { transport: 'mmio-legacy', modern: false },
  { transport: 'pci', modern: true },
  { transport: 'pci-transitional', modern: true },
  { transport: 'pci-legacy', modern: false },
]

async function devices(page: Parameters<typeof outputOf>[0]) {
  const list = await outputOf(
    page,
    'for d in /sys/bus/virtio/devices/*; do for f in device vendor status features modalias; do echo $(cat $d/$f); done; ' +
      'basename $(readlink $d/driver); done',
  )
  const lines = list.trim().split('\n')
  return Array.from({ length: lines.length / 6 }, (_, i) => {
    const [device, vendor, status, features, modalias, driver] = lines.slice(6 * i, 6 * i + 6)
    return { device, vendor, status, features, modalias, driver }
  })
}

for (const { transport, modern } of transports) {
  test(`the default guest boots on ${transport}: sysfs, drivers, commands, hwrng, terminal size`, async ({
    page,
    site,
  }) => {
    await boot(page, `${site}?machine=machines/default.json&transport=${transport}`)

    const found = await devices(page)
    for (const { device, driver } of [
      { device: '0x0003', driver: 'virtio_console' },
      { device: '0x0004', driver: 'virtio_rng' },
    ]) {
      const one = found.find(entry => entry.device === device)
      expect(one, `device ${device}`).toBeDefined()
      // ACKNOWLEDGE, DRIVER, DRIVER_OK; FEATURES_OK too where there is such a bit.
      expect(one?.status).toBe(modern ? '0x0000000f' : '0x00000007')
      expect(one?.features).toMatch(/^[01]{64}$/)
      expect(one?.features?.[32]).toBe(modern ? '1' : '0')
      expect(one?.driver).toBe(driver)
      expect(one?.vendor).toMatch(/^0x[0-9a-f]{4,8}$/)
      const hex = (text = '', digits = 8) => Number(text).toString(16).toUpperCase().padStart(digits, '0')
      expect(one?.modalias).toBe(`virtio:d${hex(device)}v${hex(one?.vendor)}`)
      if (transport.startsWith('pci')) expect(one?.vendor).toBe('0x1af4')
    }

    if (transport === 'pci-legacy') {
      // Nothing for the modern probe to find, no list of capabilities even: so Linux fell back to the legacy one.
      const status = await outputOf(page, 'for d in /sys/bus/virtio/devices/*; do xxd -s 6 -l 1 -p $d/../config; done')
      for (const bits of status.split('\n')) expect(Number.parseInt(bits, 16) & 0x10).toBe(0)
    }

    expect(await outputOf(page, 'cat /sys/class/misc/hw_random/rng_current')).toMatch(/^virtio_rng/)
    const random = (await outputOf(page, 'head -c 32 /dev/hwrng | xxd -p | tr -d "\\n"')).trim()
    expect(random).toMatch(/^[0-9a-f]{64}$/)
    expect(new Set(random.match(/../g)).size).toBeGreaterThan(16)

    expect(await outputOf(page, 'tty')).toBe('/dev/hvc0')
    expect(await outputOf(page, 'stty size')).toBe(await terminalSize(page))
    const before = await terminalSize(page)
    await page.setViewportSize({ width: 900, height: 520 })
    await expect.poll(() => terminalSize(page)).not.toBe(before)
    await expect.poll(() => outputOf(page, 'stty size')).toBe(await terminalSize(page))
  })
}

test('virtio_pci.force_legacy=1 brings a transitional device up as legacy', async ({ page, site }) => {
  const query = new URLSearchParams({
    kernel: 'guest/bzImage',
    initrd: 'guest/initramfs.cpio.zst',
    cmdline: 'quiet virtio_pci.force_legacy=1',
    memory: '128',
    transport: 'pci-transitional',
  })
  await boot(page, `${site}?${query}`)
  for (const { status, features } of await devices(page)) {
    expect(status).toBe('0x00000007')
    expect(features?.[32]).toBe('0')
  }
})

test('the start screen boots the ready-made machine, and its address boots it again', async ({ page, site }) => {
  await page.goto(site)
  await page
    .getByRole('button', { name: /Boot Linux/ })
    .first()
    .click()
  await atPrompt(page)
  expect(page.url()).toContain('?machine=machines/default.json')
  await expect(page).toHaveTitle(/^Running · /)
  await page.reload()
  await atPrompt(page)
  await page.goBack()
  await expect(page.getByRole('button', { name: /Boot Linux/ }).first()).toBeVisible()
  await expect(page).toHaveTitle('Ringlet')
})

test('the same files serve under a deeper path', async ({ page }) => {
  const { url, close } = await serveSite('/some/path/')
  try {
    await page.goto(url)
    await page
      .getByRole('button', { name: /Boot Linux/ })
      .first()
      .click()
    await atPrompt(page)
    expect(page.url()).toBe(`${url}?machine=machines/default.json`)
  } finally {
    await close()
  }
})
