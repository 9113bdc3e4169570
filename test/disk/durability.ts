/**
 * `npx tsx test/disk/durability.ts [--store opfs|indexeddb] [--runs 50] [--guest]`: kills a real Chromium at random
 * moments and looks at what it left. Without `--guest` the disk is written by its own store; with it, by a Linux guest.
 */

import { execFileSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { Browser, projectServer, waitFor } from './browser.ts'

const { values } = parseArgs({
  options: {
    store: { type: 'string', multiple: true, default: ['opfs', 'indexeddb'] },
    runs: { type: 'string', default: '50' },
    guest: { type: 'boolean', default: false },
  },
})
const runs = Number(values.runs)
const BLOCKS = 256
const server = await projectServer()
let bad = 0
for (const store of values.store) {
  const browser = new Browser(server.page)
  let rounds = 0
  try {
    for (let run = 1; run <= runs; run++) {
      const faults = values.guest ? await guestRun(browser, store, run) : await storeRun(browser, store, run)
      bad += faults.length > 0 ? 1 : 0
      process.stdout.write(`${store} ${run}/${runs}: ${faults.length > 0 ? faults.join('; ') : 'good'}\n`)
    }
  } finally {
    browser.remove()
  }
  process.stdout.write(`${store}: ${runs} kills, ${rounds} flushes\n`)

  async function storeRun(browser: Browser, store: string, run: number): Promise<string[]> {
    await browser.start()
    const { page } = browser
    const flushed: number[] = new Array(BLOCKS).fill(0)
    const begun: Set<number>[] = flushed.map(() => new Set<number>())
    await page.exposeFunction('began', (round: number, blocks: number[]) => {
      for (const block of blocks) begun[block]!.add(round)
    })
    await page.exposeFunction('flushed', (round: number, blocks: number[]) => {
      rounds++
      for (const block of blocks) {
        flushed[block] = round
        for (const old of begun[block]!) if (old < round) begun[block]!.delete(old)
      }
    })
    await page.evaluate(
      `(async () => {
        const { store } = window.ringlet
        await store.attach('run-${run}', '${store}', ${BLOCKS * 4096})
        for (let round = 1; ; round++) {
          const blocks = [...new Set(Array.from({ length: 1 + Math.floor(Math.random() * 24) }, () => Math.floor(Math.random() * ${BLOCKS})))]
          await began(round, blocks)
          await store.round(round, blocks)
          await flushed(round, blocks)
        }
      })() && undefined`,
    )
    await waitFor(() => flushed.some(round => round > 2) || undefined, 180_000)
    await new Promise(resolve => setTimeout(resolve, Math.random() * 1500))
    await browser.kill()
    await browser.start()
    const found = (await browser.page.evaluate(
      `(async () => {
        const { store } = window.ringlet
        await store.attach('run-${run}', '${store}', ${BLOCKS * 4096})
        const rounds = await store.rounds(${BLOCKS})
        await store.close()
        await store.remove('run-${run}')
        return rounds
      })()`,
    )) as number[]
    await browser.kill()
    return found.flatMap((round, block) =>
      round === -1
        ? [`block ${block} is torn`]
        : round === flushed[block] || begun[block]!.has(round)
          ? []
          : [`block ${block} is of round ${round}, and round ${flushed[block]} was flushed`],
    )
  }

  /** Files written and fsynced one after the other by a guest on ext4; the kill; the disk exported, checked, and read. */
  async function guestRun(browser: Browser, store: string, run: number): Promise<string[]> {
    const name = `guest-${run}`
    const machine = {
      memory: 64,
      kernel: '/guest/bzImage',
      initrd: '/guest/initramfs.cpio.zst',
      devices: [{ type: 'block', disk: name, size: 32, store }, { type: 'console' }, { type: 'entropy' }],
    }
    await browser.start()
    const output = () => browser.page.evaluate('window.ringlet.state.output') as Promise<string>
    const type = (line: string) => browser.page.evaluate(`window.ringlet.type(${JSON.stringify(`${line}\n`)})`)
    await browser.page.evaluate(`window.ringlet.boot(${JSON.stringify(machine)})`)
    await waitFor(async () => /[#$] $/.test(await output()) || undefined, 300_000)
    await type('mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt && echo "is mount"ed')
    await waitFor(async () => (await output()).includes('is mounted') || undefined, 300_000)
    await type(
      'i=0; while :; do i=$((i+1)); yes $i | head -c 12288 > /tmp/p; dd if=/tmp/p of=/mnt/f$i bs=4096 conv=fsync 2>/dev/null && echo "synced:$i:"; done',
    )
    await waitFor(async () => (await output()).includes('synced:2:') || undefined, 300_000)
    await new Promise(resolve => setTimeout(resolve, Math.random() * 3000))
    const last = Math.max(...[...(await output()).matchAll(/synced:(\d+):/g)].map(match => Number(match[1])))
    await browser.kill()
    rounds += last
    await browser.start()
    const image = `${browser.profile}/${name}.img`
    await server.take(
      image,
      () => browser.page.evaluate(`window.ringlet.store.export('${name}', '${server.url}/take')`) as Promise<number>,
    )
    await browser.page.evaluate(`window.ringlet.store.remove('${name}')`)
    await browser.kill()
    const faults: string[] = []
    const check = (what: string, ...args: string[]) => {
      try {
        execFileSync('/usr/sbin/e2fsck', [...args, image], { stdio: 'pipe' })
      } catch (error) {
        const { status, stdout } = error as { status: number; stdout: Buffer }
        if (status !== 1 || args.includes('-fn')) faults.push(`${what} fails (${status}): ${String(stdout).trim()}`)
      }
    }
    check('journal replay', '-p', '-E', 'journal_only')
    check('e2fsck -fn', '-fn')
    for (let i = 1; i <= last; i++) {
      const file = execFileSync('/usr/sbin/debugfs', ['-R', `cat f${i}`, image], {
        stdio: ['ignore', 'pipe', 'ignore'],
      })
      const wanted = Buffer.alloc(12288, `${i}\n`)
      if (Buffer.compare(file, wanted) !== 0)
        faults.push(`f${i} was fsynced, and is ${file.length} bytes of something else`)
    }
    return faults
  }
}
await server.close()
process.stdout.write(bad > 0 ? `${bad} runs lost something\n` : 'nothing flushed was lost, nothing is torn\n')
process.exit(bad > 0 ? 1 : 0)
