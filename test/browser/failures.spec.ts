import type { ServerResponse } from 'node:http'
import type { Page } from '@playwright/test'
import { type Elsewhere, expect, test } from './site.ts'

const open = { 'Access-Control-Allow-Origin': '*' }
const answer =
  (status: number, body: string | Buffer = '', headers = {}) =>
  (_: unknown, response: ServerResponse) =>
    response.writeHead(status, { ...open, ...headers }).end(body)

async function fails(page: Page, address: string, message: RegExp) {
  await page.goto(address)
  const note = page.getByRole('alert')
  await expect(note).toContainText(message)
  return note
}

/** Only the head of one: what a kernel is for is said there. */
function kernelOf64Bits() {
  const head = Buffer.alloc(0x400)
  head[0x201] = 0x66
  head.write('HdrS', 0x202)
  head.writeUInt16LE(0x20f, 0x206)
  head[0x211] = 1 // loaded high
  head.writeUInt16LE(1, 0x236) // XLF_KERNEL_64
  return head
}

const kernels: readonly [string, (elsewhere: Elsewhere, site: string) => string, RegExp][] = [
  ['is not there', ({ url }) => `kernel=${url}/missing`, /404/],
  [
    'is a web page',
    elsewhere => `kernel=${elsewhere.on('/page', answer(200, '<!doctype html><p>Welcome'))}`,
    /a web page instead of the kernel/,
  ],
  [
    'may not be read by other sites',
    elsewhere => `kernel=${elsewhere.on('/closed', (_, response) => void response.writeHead(200).end('x'))}`,
    /Access-Control-Allow-Origin/,
  ],
  ['is on a server that is not there', () => 'kernel=http://127.0.0.1:9/bzImage', /could not be loaded/],
  [
    'is cut short on the way',
    elsewhere =>
      `kernel=${elsewhere.on('/cut', (_, response) => {
        response.writeHead(200, { ...open, 'Content-Length': 100_000 })
        response.write(Buffer.alloc(5000))
        setTimeout(() => response.destroy(), 200)
      })}`,
    /broke off|cut short/,
  ],
  [
    'is not a kernel',
    elsewhere => `kernel=${elsewhere.on('/text', answer(200, 'hello, this is only a text file'.repeat(200)))}`,
    /not a bzImage or vmlinux but text/,
  ],
  [
    'is for 64-bit processors',
    elsewhere => `kernel=${elsewhere.on('/bzImage64', answer(200, kernelOf64Bits()))}`,
    /This kernel is for 64-bit x86 \(x86-64\), but/,
  ],
  ['does not fit into memory', () => 'kernel=guest/bzImage&initrd=guest/initramfs.cpio.zst&memory=8', /memory/i],
]

for (const [what, query, message] of kernels) {
  test(`a kernel that ${what} is refused with a reason and a way on`, async ({ page, site, elsewhere }) => {
    const note = await fails(page, `${site}?${query(elsewhere, site)}`, message)
    await expect(page).toHaveTitle(/^Failed · /)
    await note.getByRole('button', { name: 'Try again' }).click()
    await expect(note).toContainText(message)
    await note.getByRole('button', { name: 'Back to the start' }).click()
    await expect(page.getByRole('button', { name: /Boot Linux/ }).first()).toBeVisible()
  })
}

test('a download with a wrong checksum is refused with both sums', async ({ page, site, elsewhere }) => {
  const kernel = { url: `${site}guest/bzImage`, sha256: 'ab'.repeat(32) }
  const machine = elsewhere.on('/sum.json', answer(200, JSON.stringify({ kernel })))
  await fails(page, `${site}?machine=${machine}`, /SHA-256 is [0-9a-f]{64} instead of (ab){32}/)
})

const descriptions: readonly [string, (elsewhere: Elsewhere) => string, RegExp][] = [
  ['is not there', ({ url }) => `${url}/none.json`, /404/],
  ['is not JSON', elsewhere => elsewhere.on('/not.json', answer(200, 'kernel: x')), /it is not JSON/],
  [
    'says something impossible',
    elsewhere => elsewhere.on('/odd.json', answer(200, '{"kernel": "k", "memory": 4}')),
    /memory: must be at least 8/,
  ],
]

for (const [what, url, message] of descriptions) {
  test(`a description that ${what} is refused on the start screen`, async ({ page, site, elsewhere }) => {
    await fails(page, `${site}?machine=${url(elsewhere)}`, message)
    await expect(page.getByRole('button', { name: /Boot Linux/ }).first()).toBeVisible()
  })
}
