import type { Page } from '@playwright/test'
import { atPrompt, boot, outputOf, prompt, screen, state, type } from './machine.ts'
import { expect, test } from './site.ts'

const ready = '?machine=machines/default.json'
const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true })

/** The guest ends itself; the page says how, and everything that can be done then is on offer. */
async function ends(page: Page, command: string, title: string, status: string) {
  await page.locator('ringlet-terminal').click()
  await type(page, command)
  const note = page.getByRole('alert')
  await expect(note.getByRole('heading')).toHaveText(title)
  await expect(state(page)).toHaveText(status)
  await expect(page).toHaveTitle(new RegExp(`^${status} · `))
  for (const off of ['Pause', 'Power off']) await expect(button(page, off)).toBeDisabled()
  for (const way of ['Copy the last lines', 'Back to the start'])
    await expect(note.getByRole('button', { name: way })).toBeEnabled()
  return note
}

async function startAgain(page: Page) {
  await button(page, 'Start it again').click()
  await expect(page.getByRole('alert')).toBeHidden()
  await atPrompt(page)
  // The keyboard is in the terminal again, and it is another boot.
  expect(await outputOf(page, 'ls /tmp')).toBe('')
}

test('pause, resume, reset and power off do what they say', async ({ page, site }) => {
  await boot(page, site + ready)
  await outputOf(page, 'echo marked > /tmp/mark')

  await test.step('paused, the guest stands still and keeps what is typed', async () => {
    await button(page, 'Pause').click()
    await expect(state(page)).toHaveText('Paused')
    await expect(page).toHaveTitle(/^Paused · /)
    await page.locator('ringlet-terminal').click()
    await type(page, 'echo on$((1))')
    const before = await screen(page)
    await page.waitForTimeout(700)
    expect(await screen(page)).toBe(before)
    await button(page, 'Resume').last().click()
    await expect(state(page)).toHaveText('Running')
    await expect.poll(() => screen(page)).toMatch(/^on1$/m)
    expect(await outputOf(page, 'cat /tmp/mark')).toBe('marked')
  })

  await test.step('reset starts the same machine from the beginning, on an empty screen', async () => {
    await button(page, 'Reset').click()
    await expect.poll(() => screen(page)).not.toContain('marked')
    await atPrompt(page)
    expect(await outputOf(page, 'ls /tmp')).toBe('')
  })

  await test.step('a paused machine can be reset', async () => {
    await button(page, 'Pause').click()
    await expect(state(page)).toHaveText('Paused')
    await button(page, 'Reset').click()
    await expect.poll(() => screen(page)).not.toContain('ls /tmp')
    await atPrompt(page)
  })

  await test.step('power off pulls the plug, and the screen stays', async () => {
    await outputOf(page, 'echo last words')
    await button(page, 'Power off').click()
    const note = page.getByRole('alert')
    await expect(note).toContainText('The machine is off')
    await expect(state(page)).toHaveText('Powered off')
    expect(await screen(page)).toContain('last words')
    await startAgain(page)
  })
})

test('a power-off, a halt, a reboot and a panic of the guest are shown as what they are', async ({
  page,
  site,
  context,
}) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write'])
  await boot(page, site + ready)

  await test.step('poweroff', async () => {
    await ends(page, 'poweroff', 'The machine is off', 'Powered off')
    await startAgain(page)
  })
  await test.step('halt', async () => {
    await ends(page, 'halt', 'The machine has halted', 'Halted')
    await startAgain(page)
  })
  await test.step('reboot: the machine boots again by itself', async () => {
    await type(page, 'echo marked > /tmp/mark; reboot')
    await expect.poll(() => screen(page), { timeout: 120_000 }).toMatch(/system reboot[\s\S]*BusyBox[\s\S]*# ?$/)
    await expect(state(page)).toHaveText('Running')
    expect(await outputOf(page, 'ls /tmp')).toBe('')
  })
  await test.step('panic', async () => {
    const note = await ends(page, 'echo c > /proc/sysrq-trigger', 'Kernel panic', 'Kernel panic')
    await expect(note).toContainText('The last lines in the terminal say what it was')
    await button(page, 'Copy the last lines').click()
    await expect(button(page, 'Copied')).toBeVisible()
    const copied = await page.evaluate(() => navigator.clipboard.readText())
    expect(copied).toMatch(/^Kernel panic\n[\s\S]*not syncing: sysrq triggered crash/)
    await button(page, 'Reset').click()
    await expect(note).toBeHidden()
    await atPrompt(page)
    await ends(page, 'echo c > /proc/sysrq-trigger', 'Kernel panic', 'Kernel panic')
    await button(page, 'Back to the start').last().click()
    await expect(page.getByRole('button', { name: /Boot Linux/ }).first()).toBeFocused()
  })
})

test('a triple fault is shown as one, and the machine starts again', async ({ page, site }) => {
  await boot(page, `${site}${ready}&cmdline=quiet+reboot%3Dtriple`)
  const note = await ends(page, 'reboot -f', 'Triple fault', 'Triple fault')
  await expect(note).toContainText('try another kernel or more memory')
  await startAgain(page)
  await expect.poll(() => screen(page)).toMatch(prompt)
})
