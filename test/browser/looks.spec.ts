import type { Page } from '@playwright/test'
import { atPrompt, boot, outputOf, screen, state, terminalSize } from './machine.ts'
import { expect, test } from './site.ts'

const ready = '?machine=machines/default.json'
const ground = (page: Page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
const light = 'rgb(242, 244, 243)'
const dark = 'rgb(12, 18, 17)'

/** Everything is as wide as the window, and no control sticks out. */
async function fits(page: Page) {
  const outside = await page.evaluate(() => {
    const found: string[] = []
    const look = (root: Document | ShadowRoot) => {
      for (const element of root.querySelectorAll('*')) {
        if (element.shadowRoot) look(element.shadowRoot)
        if (!element.matches('button, input, select, a, h1, h2, p') || !element.checkVisibility()) continue
        const { left, right, width } = element.getBoundingClientRect()
        const scrolls = element.closest('[role=group], [role=tablist]')
        if (width > 1 && !scrolls && (left < -1 || right > innerWidth + 1)) found.push(element.outerHTML.slice(0, 120))
      }
    }
    look(document)
    return { found, wider: document.documentElement.scrollWidth - innerWidth }
  })
  expect(outside).toEqual({ found: [], wider: 0 })
}

test('by keyboard alone: boot, type, out of the terminal, along the switches and the panels, and back', async ({
  page,
  site,
}) => {
  await page.goto(site)
  const first = page.getByRole('button', { name: /Boot Linux/ }).first()
  await expect(first).toBeVisible()
  await expect
    .poll(async () => {
      await page.keyboard.press('Tab')
      return first.evaluate(element => element.matches(':focus'))
    })
    .toBe(true)
  await page.keyboard.press('Enter')
  await atPrompt(page)
  expect(await outputOf(page, 'echo typed')).toBe('typed')

  await test.step('Tab goes to the guest, Control F6 out of the terminal and back into it', async () => {
    await page.keyboard.insertText('ec')
    await page.keyboard.press('Tab')
    await page.keyboard.insertText(' tab')
    await page.keyboard.press('Enter')
    await expect.poll(() => screen(page)).toMatch(/^tab$/m)
    await page.keyboard.press('Control+F6')
    await expect(page.getByRole('button', { name: 'Pause' })).toBeFocused()
    await page.keyboard.press('Control+F6')
    expect(await outputOf(page, 'echo again')).toBe('again')
  })

  await test.step('arrow keys walk along the switches', async () => {
    await page.keyboard.press('Control+F6')
    await page.keyboard.press('ArrowRight')
    await expect(page.getByRole('button', { name: 'Reset' })).toBeFocused()
    await page.keyboard.press('ArrowLeft')
    await page.keyboard.press('Enter')
    await expect(state(page)).toHaveText('Paused')
    await expect(page.locator('machine-bar').getByRole('button', { name: 'Resume' })).toBeFocused()
    await page.keyboard.press('Enter')
    await expect(state(page)).toHaveText('Running')
    expect(await outputOf(page, 'echo resumed')).toBe('resumed')
  })

  await test.step('the panels', async () => {
    await page.keyboard.press('Control+F6')
    await page.keyboard.press('ArrowLeft')
    await expect(page.getByRole('button', { name: 'Panels', exact: true })).toBeFocused()
    await page.keyboard.press('Enter')
    await expect(page.getByRole('tab', { name: 'Machine' })).toBeVisible()
    await page.getByRole('tab', { name: 'Machine' }).focus()
    await expect(page.getByRole('tabpanel')).toContainText('128 MiB')
    await page.keyboard.press('ArrowLeft')
    await expect(page.getByRole('tab', { name: 'Keys' })).toBeFocused()
    await expect(page.getByRole('tabpanel')).toContainText('Out of the terminal')
    for (let tab = 0; tab < 4; tab++) {
      await fits(page)
      await page.keyboard.press('ArrowRight')
    }
    await page.getByRole('button', { name: 'Close the panels' }).press('Enter')
    await expect(page.getByRole('tabpanel')).toBeHidden()
    await expect(page.getByRole('button', { name: 'Panels', exact: true })).toBeFocused()
  })

  await test.step('back to the start', async () => {
    await page.locator('machine-bar').getByRole('button', { name: 'Back to the start' }).press('Enter')
    await expect(first).toBeFocused()
  })
})

test('on a phone’s width everything fits, and its key bar types what its keyboard lacks', async ({ browser, site }) => {
  const context = await browser.newContext({
    ...{ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 },
  })
  const page = await context.newPage()
  try {
    await page.goto(site)
    await expect(page.getByRole('button', { name: /Boot Linux/ }).first()).toBeVisible()
    await fits(page)
    await page
      .getByRole('button', { name: /Boot Linux/ })
      .first()
      .tap()
    await atPrompt(page)
    await fits(page)
    await expect.poll(() => outputOf(page, 'stty size')).toBe(await terminalSize(page))
    await page.locator('ringlet-terminal').tap()
    await page.keyboard.insertText('cat')
    await page.keyboard.press('Enter')
    await page.getByRole('button', { name: 'Bar', exact: true }).tap()
    await page.getByRole('button', { name: 'Control with the next key' }).tap()
    await page.keyboard.insertText('c')
    await expect.poll(() => screen(page, 2)).toMatch(/\|\^C\n.*# ?$/)
    await page.getByRole('button', { name: 'Up', exact: true }).tap()
    await expect.poll(() => screen(page, 1)).toMatch(/# cat$/)
    await page.getByRole('button', { name: 'Panels', exact: true }).tap()
    await expect(page.getByRole('tabpanel')).toBeVisible()
    await fits(page)
  } finally {
    await context.close()
  }
})

test('light and dark follow the system until a choice is made, which is kept', async ({ page, site }) => {
  await page.emulateMedia({ colorScheme: 'light' })
  await page.goto(site)
  expect(await ground(page)).toBe(light)
  await page.emulateMedia({ colorScheme: 'dark' })
  await expect.poll(() => ground(page)).toBe(dark)
  const choose = () => page.getByRole('button', { name: /^Colours/ }).click()
  await choose()
  await expect.poll(() => ground(page)).toBe(light)
  await page.reload()
  expect(await ground(page)).toBe(light)
  await boot(page, site + ready)
  const paper = () =>
    page.locator('.xterm-scrollable-element').evaluate(element => getComputedStyle(element).backgroundColor)
  expect(await paper()).toBe('rgb(251, 252, 251)')
  await choose()
  await expect.poll(paper).toBe('rgb(9, 14, 13)')
  expect(await ground(page)).toBe(dark)
})
