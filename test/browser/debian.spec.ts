import { existsSync } from 'node:fs'
import { prompt, run, screen, state, type } from './machine.ts'
import { expect, test } from './site.ts'

const LOGIN = /ringlet login: ?$/

const missing = !existsSync('public/debian/machine.json')
if (missing) console.warn('Debian is not tested: there is no disk of it here, "npm run guest:debian" builds one.')
test.skip(missing)
// Two boots, and a login each.
test.setTimeout(900_000)

test('Debian boots from its chunked disk to a login, and keeps what was written over a reload', async ({
  page,
  site,
}) => {
  const login = async () => {
    await expect.poll(() => screen(page), { timeout: 300_000 }).toMatch(LOGIN)
    await expect(state(page)).toHaveText('Running')
    await page.locator('ringlet-terminal').click()
    await type(page, 'root')
    await expect.poll(() => screen(page), { timeout: 300_000 }).toMatch(prompt)
  }
  await page.goto(`${site}?machine=debian/machine.json`)
  await login()
  const release = await run(page, 'cat /etc/debian_version; findmnt -no SOURCE,FSTYPE /')
  expect(release.output).toMatch(/^12\.\d+\n\S+ +ext4$/)
  const written = await run(page, 'date +%s%N > /root/kept; sync; cat /root/kept; gcc -dumpversion')
  expect(written).toEqual({ output: expect.stringMatching(/^\d{19}\n12$/), status: 0 })

  await page.reload()
  await login()
  const [kept] = written.output.split('\n')
  expect(await run(page, 'cat /root/kept')).toEqual({ output: kept, status: 0 })
})
