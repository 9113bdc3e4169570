import type { Page } from '@playwright/test'
import { atPrompt, boot, outputOf, run, screen, type } from './machine.ts'
import { type Elsewhere, expect, test } from './site.ts'

/** A description of the site's own with these disks, at the address returned. */
async function machineOf(page: Page, site: string, name: string, devices: readonly object[]) {
  const machine = {
    name,
    memory: 128,
    kernel: '../guest/bzImage',
    initrd: '../guest/initramfs.cpio.zst',
    cmdline: 'quiet',
    devices: [...devices, { type: 'console' }, { type: 'entropy' }],
  }
  await page.route(`**/machines/${name}.json`, route => route.fulfill({ json: machine }))
  return `${site}?machine=machines/${name}.json`
}

const dialog = (page: Page) => page.getByRole('dialog')

test('a disk that is attached in one tab is offered read-only to a second, which is told who has it', async ({
  page,
  site,
  context,
}) => {
  const devices = [{ type: 'block', disk: 'shared', size: 8, store: 'opfs' }]
  await boot(page, await machineOf(page, site, 'first', devices))
  await outputOf(page, 'echo written by the first > /tmp/x; dd if=/tmp/x of=/dev/vda conv=fsync')

  const second = await context.newPage()
  await second.goto(await machineOf(second, site, 'second', devices))
  await expect(dialog(second)).toContainText('This disk is in use')
  await expect(dialog(second)).toContainText('the disk "shared" is in use by "first" in another tab'.slice(1))
  await dialog(second).getByRole('button', { name: 'read-only' }).click()
  await atPrompt(second)
  await second.locator('ringlet-terminal').click()
  expect(await outputOf(second, 'cat /sys/block/vda/ro; head -n 1 /dev/vda')).toBe('1\nwritten by the first')
  expect((await run(second, 'echo x > /dev/vda')).status).not.toBe(0)
  await second.close()

  // Once the first is gone, its disk can be had.
  const third = await context.newPage()
  await third.goto(await machineOf(third, site, 'third', devices))
  await expect(dialog(third)).toContainText('This disk is in use')
  await page.close()
  await expect(async () => {
    // A page that is closed lets go of its locks in its own time.
    await dialog(third)
      .getByRole('button', { name: 'Try again' })
      .click({ timeout: 1000 })
      .catch(() => {})
    await expect(dialog(third)).toBeHidden({ timeout: 3000 })
  }).toPass()
  await atPrompt(third)
  await third.locator('ringlet-terminal').click()
  expect(await outputOf(third, 'cat /sys/block/vda/ro; head -n 1 /dev/vda')).toBe('0\nwritten by the first')
})

test('the ready-made machine with a disk finds after a reload what was written to it', async ({ page, site }) => {
  await page.goto(site)
  await page.getByRole('button', { name: 'Boot Linux with a disk that lasts' }).click()
  await atPrompt(page)
  await page.locator('ringlet-terminal').click()
  await outputOf(page, 'mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt && echo lasting > /mnt/note && sync')
  await boot(page, page.url())
  expect(await outputOf(page, 'mount /dev/vda /mnt && cat /mnt/note')).toBe('lasting')
})

/** A description that another origin serves, with the kernel of the site. */
function stranger(elsewhere: Elsewhere, site: string, disk: string) {
  const machine = {
    name: 'a stranger',
    memory: 64,
    kernel: `${site}guest/bzImage`,
    initrd: `${site}guest/initramfs.cpio.zst`,
    cmdline: 'quiet',
    devices: [{ type: 'block', disk, size: 8 }, { type: 'console' }],
  }
  return elsewhere.on('/stranger.json', (_, response) => {
    response.writeHead(200, { 'Access-Control-Allow-Origin': '*' }).end(JSON.stringify(machine))
  })
}

test('a description from another origin opens your disk only with your yes', async ({ page, site, elsewhere }) => {
  await boot(page, await machineOf(page, site, 'owner', [{ type: 'block', disk: 'mine', size: 8 }]))
  await outputOf(page, 'echo secret > /tmp/x; dd if=/tmp/x of=/dev/vda conv=fsync')

  const address = `${site}?machine=${stranger(elsewhere, site, 'mine')}`
  await page.goto(address)
  await expect(dialog(page)).toContainText('May this machine use your disk?')
  await expect(dialog(page)).toContainText(`belongs to machines from ${new URL(site).origin}`)
  await expect(dialog(page)).toContainText(`this one is from ${elsewhere.url}`)
  // To close the question is to say no, and so is what has the focus.
  await page.keyboard.press('Enter')
  await expect(page.getByRole('alert')).toContainText('only you can let it in')

  await page.goto(address)
  await dialog(page)
    .getByRole('button', { name: `Let machines from ${elsewhere.url}` })
    .click()
  await atPrompt(page)
  await page.locator('ringlet-terminal').click()
  expect(await outputOf(page, 'head -n 1 /dev/vda')).toBe('secret')

  // A kernel from elsewhere in a machine of our own is a stranger too.
  const kernel = elsewhere.on('/bzImage', (_, response) => {
    response.writeHead(302, { 'Access-Control-Allow-Origin': '*', Location: `${site}guest/bzImage` }).end()
  })
  const other = kernel.replace('127.0.0.1', 'localhost')
  await machineOf(page, site, 'owner', [{ type: 'block', disk: 'mine', size: 8 }])
  await page.goto(`${site}?machine=machines/owner.json&kernel=${other}`)
  await expect(dialog(page)).toContainText(`this one is from ${new URL(other).origin}`)
})

test('a link that changes what a machine of the same origin runs opens its disks only with your yes', async ({
  page,
  site,
}) => {
  const address = await machineOf(page, site, 'changed', [{ type: 'block', disk: 'changed', size: 8 }])
  await boot(page, address)
  await outputOf(page, 'echo secret > /tmp/x; dd if=/tmp/x of=/dev/vda conv=fsync')
  const link = `${address}&memory=96&cmdline=${encodeURIComponent('quiet marked')}`
  await page.goto(link)
  await expect(dialog(page)).toContainText('May this machine use your disk?')
  await expect(dialog(page)).toContainText('the link that starts this one changes what it runs')
  await expect(dialog(page)).toContainText('changed.json with cmdline "quiet marked"')
  await page.keyboard.press('Enter')
  await expect(page.getByRole('alert')).toContainText('only you can let it in')

  await page.goto(link)
  await dialog(page).getByRole('button', { name: 'Let this changed machine' }).click()
  await atPrompt(page)
  await page.locator('ringlet-terminal').click()
  expect(await outputOf(page, 'grep -o marked /proc/cmdline; head -n 1 /dev/vda')).toBe('marked\nsecret')
  // The yes is kept for this link, and nothing was asked of the machine as it is described.
  await boot(page, link)
  await boot(page, `${address}&memory=96`)
})

// Chromium remembers for a while how much room IndexedDB had, and does not see a smaller quota when it is set: that store is
// filled up in worker/backends/faults.test.ts.
test('a full quota stops the machine on opfs: with room made it goes on, given up the guest has an I/O error', async ({
  page,
  site,
}) => {
  test.slow()
  const { origin } = new URL(site)
  const protocol = await page.context().newCDPSession(page)
  const quota = async (mebibytes?: number) => {
    const { usage } = await protocol.send('Storage.getUsageAndQuota', { origin })
    const quotaSize = mebibytes === undefined ? undefined : usage + mebibytes * 2 ** 20
    await protocol.send('Storage.overrideQuotaForOrigin', { origin, ...(quotaSize && { quotaSize }) })
  }
  await boot(
    page,
    await machineOf(page, site, 'full-opfs', [{ type: 'block', disk: 'full-opfs', size: 64, store: 'opfs' }]),
  )
  await outputOf(
    page,
    'dd if=/dev/urandom of=/tmp/noise bs=1M count=4; i=0; while [ $i -lt 3 ]; do cat /tmp/noise; i=$((i+1)); done > /tmp/data',
  )
  const write = (name: string, at: number) =>
    type(page, `dd if=/tmp/data of=/dev/vda bs=1M seek=${at} conv=fsync status=none; echo "${name}": $?`)

  await quota(2)
  await write('first', 0)
  const asked = async () => ((await dialog(page).isVisible()) ? dialog(page).textContent() : screen(page))
  await expect.poll(asked, { timeout: 120_000 }).toContain('No room left')
  await expect(dialog(page)).toContainText('The machine waits')
  // It stands still: nothing is lost, nothing is answered.
  expect(await screen(page)).not.toMatch(/^first: 0$/m)
  await quota()
  await dialog(page).getByRole('button', { name: 'Try again' }).click()
  await expect.poll(() => screen(page), { timeout: 180_000 }).toMatch(/^first: 0$/m)
  // All 12 MB would take the guest a while: some blocks from before and after it was full.
  const piece = (from: string, to: string) => `dd if=${from} of=${to} bs=4096 skip=$b count=1 status=none`
  const same = `${piece('/dev/vda', '/tmp/a')}; ${piece('/tmp/data', '/tmp/b')}; cmp -s /tmp/a /tmp/b || echo $b differs`
  const blocks = '0 400 800 1200 2000 3071'
  const drop = 'echo 3 > /proc/sys/vm/drop_caches'
  expect(await outputOf(page, `${drop}; for b in ${blocks}; do ${same}; done`, 180_000)).toBe('')

  await quota(2)
  await write('second', 24)
  const giveUp = dialog(page).getByRole('button', { name: 'Give up' })
  // It is asked again for each write that has no room.
  while (!/^second: \d/m.test(await screen(page))) await giveUp.click({ timeout: 2000 }).catch(() => {})
  expect(await screen(page)).toMatch(/^second: [1-9]/m)
  expect(await outputOf(page, 'dmesg | grep -c "I/O error, dev vda"')).not.toBe('0')
})
