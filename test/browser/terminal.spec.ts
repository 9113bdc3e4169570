import type { Page } from '@playwright/test'
import { boot, outputOf, prompt, run, screen, type } from './machine.ts'
import { expect, test } from './site.ts'

const ready = '?machine=machines/default.json'

/** As a browser does it: the text is in the clipboard, the event at the focus. */
const paste = (page: Page, text: string) =>
  page.evaluate(pasted => {
    const data = new DataTransfer()
    data.setData('text/plain', pasted)
    document.activeElement?.dispatchEvent(
      new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }),
    )
  }, text)

/** Counts how often a character reaches the screen from now on. */
async function written(page: Page, character: string) {
  const count = await page.evaluateHandle(code => {
    const count = { seen: 0 }
    const terminal = document.querySelector('ringlet-terminal') as unknown as {
      write(bytes: Uint8Array): Promise<void>
    }
    const write = terminal.write
    terminal.write = async bytes => {
      for (const byte of bytes) if (byte === code) count.seen++
      await write.call(terminal, bytes)
    }
    return count
  }, character.charCodeAt(0))
  return async () => (await count.jsonValue()).seen
}

test('the terminal takes UTF-8, pastes, a flood of output, and an interruption in the middle of one', async ({
  page,
  site,
}) => {
  await boot(page, site + ready)

  await test.step('pasted UTF-8 reaches the guest byte for byte', async () => {
    const text = 'grüße, 漢字, 🐧 ∀x'
    await type(page, 'cat > /tmp/pasted')
    await paste(page, text)
    await page.keyboard.press('Enter')
    await page.keyboard.press('Control+d')
    const bytes = await outputOf(page, 'xxd -p /tmp/pasted | tr -d "\\n"')
    expect(bytes.trim()).toBe(Buffer.from(`${text}\n`).toString('hex'))
    expect(await outputOf(page, 'cat /tmp/pasted')).toBe(text)
  })

  await test.step('a paste is bracketed for a program that asks for it', async () => {
    await type(page, "printf '\\033[?2004h'; cat -v > /tmp/pasted")
    await expect.poll(() => screen(page)).toMatch(/cat -v > \/tmp\/pasted$/)
    await paste(page, 'one two')
    await page.keyboard.press('Enter')
    await page.keyboard.press('Control+d')
    expect(await outputOf(page, "cat /tmp/pasted; printf '\\033[?2004l'")).toBe('^[[200~one two^[[201~')
  })

  await test.step('the shell after an exit has the size of the terminal, too', async () => {
    const size = await outputOf(page, 'stty size')
    await type(page, 'exit')
    await expect.poll(() => screen(page, 4)).toMatch(/'help' for a list of built-in commands\.\s+.*# ?$/)
    expect(await outputOf(page, 'stty size')).toBe(size)
  })

  await test.step('10 MB of output arrive whole, and the shell goes on', async () => {
    const line = '0123456789'.repeat(64)
    const lines = 16_384
    const awk = `BEGIN { while (i++ < 64) line = line "0123456789"; while (j++ < ${lines}) print line }`
    await outputOf(page, `awk '${awk}' > /tmp/flood`)
    expect(await outputOf(page, 'wc -c < /tmp/flood')).toBe(String((line.length + 1) * lines))
    const fives = await written(page, '5')
    await type(page, 'cat /tmp/flood; echo flood"ed"')
    await expect.poll(() => screen(page, 2)).toMatch(/^flooded\n.*# $/)
    expect(await fives()).toBe(64 * lines)
    const shown = (await screen(page, 500)).split('\n').slice(0, -2)
    expect(new Set(shown)).toEqual(new Set([line]))
    expect(await outputOf(page, 'echo still here')).toBe('still here')
  })

  await test.step('1 MB without a line break, and 1 MB of noise', async () => {
    await type(page, 'tr -d "\\n" < /tmp/flood | head -c 1000000; echo; echo flood"ed" again')
    await expect.poll(() => screen(page, 2)).toMatch(/^flooded again\n.*# $/)
    await type(page, 'head -c 1000000 /dev/urandom; reset; stty sane; echo; echo quiet" again"')
    await expect.poll(() => screen(page, 100)).toMatch(/^quiet again\n/m)
    // The terminal has answered questions that were in the noise, and the shell has read the answers.
    await page.keyboard.press('Control+c')
    expect(await outputOf(page, 'echo still here')).toBe('still here')
  })

  await test.step('Control C stops an endless output', async () => {
    await type(page, 'yes')
    await expect.poll(() => screen(page, 50)).toMatch(/(y\n){40}/)
    await page.keyboard.press('Control+c')
    await expect.poll(() => screen(page, 3)).toMatch(/\^C\n.*# $/)
    await expect.poll(() => screen(page, 1)).toMatch(prompt)
  })
})

async function colourful(page: Page, address: string) {
  await boot(page, address)
  await run(page, "printf '\\033[38;2;250;120;10mtrue colour\\033[0m\\n'")
}

test('without a GPU the terminal is drawn with elements', async ({ page, site }) => {
  await colourful(page, site + ready)
  const rows = page.locator('.xterm-rows')
  await expect(rows).toContainText('true colour')
  await expect(rows.getByText('true colour').last()).toHaveCSS('color', 'rgb(250, 120, 10)')
  await expect(rows.locator('span').first()).toHaveCSS('display', 'inline-block')
})

test('with a GPU the terminal is drawn by it', async ({ page, site }) => {
  // Chromium computes WebGL on the processor here, and says so.
  await page.addInitScript(() => {
    const { getParameter } = WebGL2RenderingContext.prototype
    WebGL2RenderingContext.prototype.getParameter = function (name) {
      return name === 0x9246 ? 'A graphics card' : getParameter.call(this, name)
    }
  })
  await colourful(page, site + ready)
  await expect(page.locator('.xterm-screen canvas').first()).toBeVisible()
  const orange = async () =>
    page.evaluate(
      async png => {
        const image = await createImageBitmap(new Blob([Uint8Array.from(atob(png), byte => byte.charCodeAt(0))]))
        const copy = new OffscreenCanvas(image.width, image.height).getContext('2d')!
        copy.drawImage(image, 0, 0)
        const { data } = copy.getImageData(0, 0, image.width, image.height)
        let count = 0
        for (let at = 0; at < data.length; at += 4)
          if (data[at]! > 200 && Math.abs(data[at + 1]! - 120) < 20 && data[at + 2]! < 60) count++
        return count
      },
      (await page.screenshot()).toString('base64'),
    )
  await expect.poll(orange).toBeGreaterThan(50)
})
