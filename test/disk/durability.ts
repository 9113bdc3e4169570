/**
 * `npm run durability -- [--runs 50] [--store opfs|indexeddb] [--power] [--seed N]`: a Linux guest in a real Chromium
 * writes to an ext4 on its disks, and fsyncs; the whole browser is killed at a random moment, and started again; then the
 * disks are exported, checked, and read. With `--power`, the medium under the browser's profile loses its power first.
 */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cac } from 'cac'
import { MortalBrowser } from './browser.ts'
import { FilesModel, pattern } from './guest-writer.ts'
import { killOnce, type Plan } from './kill-run.ts'
import { PowerSupply } from './power.ts'
import { diskSite } from './site.ts'

const STORES = ['opfs', 'indexeddb']
/** So many kills in a row hit one disk: each run goes on with what the one before it left. */
const KILLS_A_DISK = 5

const cli = cac('npm run durability --')
cli.option('--runs <n>', 'kills', { default: 50 })
cli.option('--store <name>', 'opfs or indexeddb; without it the guest has a disk on each')
cli.option('--power', 'the medium loses its power with each kill; needs root, loop devices and python3')
cli.option('--console', 'print what the guest says')
cli.option('--seed <n>', 'repeats what the guest writes, and when the kills come')
cli.help()
const { options } = cli.parse()
if (options['help']) process.exit()
const runs = Number(options['runs'])
const seed = Number(options['seed'] ?? Math.floor(Math.random() * 2 ** 31))
const stores = options['store'] ? [String(options['store'])] : STORES
if (!Number.isInteger(runs) || !Number.isInteger(seed) || stores.some(store => !STORES.includes(store))) {
  cli.outputHelp()
  process.exit(2)
}

/** Numbers from 0 to 1, the same for the same seed. */
function randomness(seed: number) {
  let x = seed >>> 0
  return () => {
    x = (x + 0x6d2b79f5) >>> 0
    let t = Math.imul(x ^ (x >>> 15), x | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

let supply: PowerSupply | undefined
if (options['power'])
  try {
    supply = PowerSupply.make()
  } catch (error) {
    const why = (error as Error).message.trim().replace(/\.?\s*\n\s*/g, ': ')
    process.stdout.write(
      `SKIPPED: power cannot be cut on this computer: ${why}. It takes root, loop devices, python3.\n`,
    )
    process.exit()
  }

const scratch = mkdtempSync(join(tmpdir(), 'ringlet-durability-'))
const site = await diskSite({ 'pattern.img': pattern() })
const profile = join(supply?.folder ?? scratch, 'profile')
mkdirSync(profile)
const browser = new MortalBrowser(profile, `${site.url}/index.html`)
const evidence = fileURLToPath(new URL(`../../test-results/durability/${seed}`, import.meta.url))

async function cleanUp() {
  await browser.kill()
  supply?.remove()
  await site.close()
  rmSync(scratch, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 })
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => cleanUp().finally(() => process.exit(1)))

const random = randomness(seed)
const begun = Date.now()
const promised = stores.map(() => 0)
let models = stores.map(() => new FilesModel())
let bad = 0
try {
  for (let run = 0; run < runs; run++) {
    const started = Date.now()
    const nth = run % KILLS_A_DISK
    if (nth === 0) models = stores.map(() => new FilesModel())
    const plan: Plan = {
      run,
      disk: `disk-${run - nth}`,
      fresh: nth === 0,
      last: nth === KILLS_A_DISK - 1 || run === runs - 1,
      overlay: Math.floor(run / KILLS_A_DISK) % 2 === 1,
      stores: stores.map((store, i) => ({ store, seed: Math.floor(random() * 2 ** 31), model: models[i]! })),
      killAfter: stores.length + Math.floor(random() ** 2 * 16),
      delay: random() < 0.5 ? 0 : random() * 400,
    }
    const echo = (text: string) => options['console'] && process.stdout.write(text)
    const { done, faults } = await killOnce(plan, { site, browser, supply, scratch, evidence, console: echo })
    const results = stores.map((store, i) => {
      promised[i]! += done[i]! + 1
      const wrong = faults[i]!
      return `${store}: ${done[i]! + 1} steps done, ${wrong.length > 0 ? `BAD: ${wrong.slice(0, 5).join('; ')}` : 'good'}`
    })
    if (faults.some(wrong => wrong.length > 0)) bad++
    const took = ((Date.now() - started) / 1000).toFixed(1)
    process.stdout.write(`${run + 1}/${runs} ${results.join(' | ')} (${took} s)\n`)
  }
} finally {
  await cleanUp()
}
const kind = supply ? 'power cuts' : 'kills'
const each = ((Date.now() - begun) / 1000 / runs).toFixed(1)
for (const [i, store] of stores.entries())
  process.stdout.write(`${store}: ${runs} ${kind}, ${promised[i]} steps promised (${each} s each)\n`)
if (bad > 0) {
  const again = `npm run durability -- --seed ${seed} --runs ${runs}${supply ? ' --power' : ''}`
  process.stdout.write(
    `${bad} runs lost something. The evidence is in test-results/durability/${seed}; again: ${again}\n`,
  )
} else process.stdout.write(`Nothing fsynced was lost, nothing is torn, every file system is clean. (seed ${seed})\n`)
process.exitCode = bad > 0 ? 1 : 0
