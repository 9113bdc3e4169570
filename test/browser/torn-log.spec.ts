/** A browser killed while it writes to its own log: what Chromium then loses of itself, and we do not let it. */

import { appendFileSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from '@playwright/test'
import { MortalBrowser } from '../disk/browser.ts'
import { diskSite } from '../disk/site.ts'

/** Puts the beginning of a record behind a LevelDB's log, as a kill does that comes in the middle of a write. */
function tearLog(profile: string) {
  const databases = join(profile, 'Default/IndexedDB')
  const [folder] = readdirSync(databases).filter(name => name.endsWith('.leveldb'))
  const [log] = readdirSync(join(databases, folder!))
    .filter(name => name.endsWith('.log'))
    .sort()
    .reverse()
  const record = Buffer.alloc(107, 0x55)
  record.writeUInt16LE(2000, 4) // of which only 100 bytes come
  record[6] = 1
  appendFileSync(join(databases, folder!, log!), record)
}

test('a kill in the middle of a log record and another kill later: what was flushed between them is there', async () => {
  test.setTimeout(300_000)
  const profile = mkdtempSync(join(tmpdir(), 'ringlet-torn-'))
  const site = await diskSite()
  const browser = new MortalBrowser(profile, site.url)
  const open = async () => {
    await browser.start()
    await browser.page.evaluate(() => window.ringlet.store.attach('torn', 'indexeddb', 2 ** 20))
  }
  const write = (round: number, blocks: number[]) =>
    browser.page.evaluate(([round, blocks]) => window.ringlet.store.round(round, blocks), [round, blocks] as const)
  try {
    await open()
    await write(1, [0, 1, 2, 3])
    await browser.kill()
    tearLog(profile)
    await open()
    await write(2, [2, 3, 4, 5])
    await browser.kill()
    await open()
    expect(await browser.page.evaluate(() => window.ringlet.store.rounds(7))).toEqual([1, 1, 2, 2, 2, 2, 0])
  } finally {
    await browser.kill()
    await site.close()
    rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 })
  }
})
