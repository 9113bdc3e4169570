import { expect, type Page } from '@playwright/test'

/** A shell's prompt at the end of the screen. */
export const prompt = /[#$] ?$/

/** Non-empty lines at the end of the terminal, as text. */
export const screen = (page: Page, lines = 200) =>
  page.evaluate(count => {
    const terminal = document.querySelector('ringlet-terminal') as unknown as {
      lastLines(count: number): string
    } | null
    return terminal?.lastLines(count) ?? ''
  }, lines)

export const terminalSize = (page: Page) =>
  page.evaluate(() => {
    const { rows, columns } = document.querySelector('ringlet-terminal') as unknown as { rows: number; columns: number }
    return `${rows} ${columns}`
  })

export const state = (page: Page) => page.locator('machine-bar [role=status]')

/** Waits for a shell. */
export async function atPrompt(page: Page, timeout = 120_000) {
  await expect.poll(() => screen(page), { timeout }).toMatch(prompt)
  await expect(state(page)).toHaveText('Running')
}

/** Opens an address of the site and waits for its shell. */
export async function boot(page: Page, address: string) {
  await page.goto(address)
  await atPrompt(page)
  await page.locator('ringlet-terminal').click()
}

/** Types a line, all of it in one input event. */
export async function type(page: Page, line: string) {
  await page.keyboard.insertText(line)
  await page.keyboard.press('Enter')
}

/** Types a command at the shell's prompt; gives what it wrote, and its status. */
export async function run(page: Page, command: string, timeout = 90_000) {
  const tag = Math.random().toString(36).slice(2, 8)
  // The tag is typed in two halves, so that only the output has it whole.
  await type(page, `echo B''${tag}; ${command}; echo E''${tag} $?`)
  const whole = new RegExp(`^B${tag}\\n([\\s\\S]*?)\\n?E${tag} (\\d+)$`, 'm')
  await expect.poll(() => screen(page, 5000), { timeout }).toMatch(whole)
  const [, output, status] = whole.exec(await screen(page, 5000))!
  return { output: output!, status: Number(status) }
}

/** As `run`, for commands that must succeed. */
export async function outputOf(page: Page, command: string, timeout?: number) {
  const { output, status } = await run(page, command, timeout)
  expect(status, output).toBe(0)
  return output
}
