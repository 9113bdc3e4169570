/**
 * `npm run durability -- [--store opfs|indexeddb] [--runs 50] [--power] [--seed N]`: a Linux guest in a real Chromium
 * writes to an ext4 on its disk, and fsyncs; the whole browser is killed at a random moment, and started again; then the
 * disk is exported, checked, and read. With `--power`, the medium under the browser's profile loses its power first.
 */

import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cac } from 'cac'
import { MortalBrowser } from './browser.ts'
import { FilesModel, pattern, script, stepsOf } from './guest-writer.ts'
import { PowerSupply } from './power.ts'
import { diskSite } from './site.ts'

const STORES = ['opfs', 'indexeddb']
/** So many kills in a row hit one disk: each run goes on with what the one before it left. */
const KILLS_A_DISK = 5
const EVIDENCE = fileURLToPath(new URL('../../test-results/durability', import.meta.url))

const cli = cac('npm run durability --')
cli.option('--store <name>', 'opfs or indexeddb; both if absent')
cli.option('--runs <n>', 'kills for each store', { default: 50 })
cli.option('--power', 'the medium loses its power with each kill; needs root and loop devices')
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
    const why = (error as Error).message.split('\n')[0]
    process.stdout.write(
      `SKIPPED: power cannot be cut on this computer: ${why}. It takes root, loop devices, python3.\n`,
    )
    process.exit()
  }

const scratch = mkdtempSync(join(tmpdir(), 'ringlet-durability-'))
const site = await diskSite({ 'pattern.img': pattern() })
const summary: string[] = []
let bad = 0

for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, async () => {
    await current?.kill()
    supply?.remove()
    process.exit(1)
  })
let current: MortalBrowser | undefined

for (const store of stores) {
  const profile = join(supply?.folder ?? scratch, `profile-${store}`)
  mkdirSync(profile)
  const browser = new MortalBrowser(profile, `${site.url}/index.html`)
  current = browser
  const random = randomness(seed)
  const begun = Date.now()
  let steps = 0
  let lost = 0
  let model = new FilesModel()
  try {
    for (let run = 0; run < runs; run++) {
      const started = Date.now()
      const nth = run % KILLS_A_DISK
      if (nth === 0) model = new FilesModel()
      const plan: Plan = {
        ...{
          store,
          run,
          fresh: nth === 0,
          disk: `disk-${run - nth}`,
          last: nth === KILLS_A_DISK - 1 || run === runs - 1,
        },
        writerSeed: Math.floor(random() * 2 ** 31),
        killAfter: 1 + Math.floor(random() ** 2 * 60),
        delay: random() < 0.5 ? 0 : random() * 400,
        overlay: Math.floor(run / KILLS_A_DISK) % 2 === 1,
      }
      const { done, faults } = await killOnce(browser, model, plan)
      steps += done + 1
      lost += faults.length > 0 ? 1 : 0
      const verdict = faults.length > 0 ? `BAD: ${faults.slice(0, 5).join('; ')}` : 'good'
      const took = ((Date.now() - started) / 1000).toFixed(1)
      process.stdout.write(`${store} ${run + 1}/${runs}: killed after step ${done}, ${verdict} (${took} s)\n`)
    }
  } finally {
    await browser.kill()
    if (!supply) rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 })
  }
  bad += lost
  const kind = supply ? 'power cuts' : 'kills'
  const each = ((Date.now() - begun) / 1000 / runs).toFixed(1)
  summary.push(`${store}: ${runs} ${kind}, ${steps} steps promised, ${lost} with a loss; ${each} s each`)
}
supply?.remove()
await site.close()
rmSync(scratch, { recursive: true, force: true })
process.stdout.write(`${summary.join('\n')}\n`)
if (bad > 0) {
  const again = `npm run durability -- --seed ${seed} --runs ${runs}${supply ? ' --power' : ''}`
  process.stdout.write(`${bad} runs lost something. The evidence is in test-results/durability; again: ${again}\n`)
} else process.stdout.write(`Nothing fsynced was lost, nothing is torn, every file system is clean. (seed ${seed})\n`)
process.exitCode = bad > 0 ? 1 : 0

interface Plan {
  readonly store: string
  readonly run: number
  readonly disk: string
  /** The disk is new. */
  readonly fresh: boolean
  /** The disk is deleted afterwards. */
  readonly last: boolean
  readonly writerSeed: number
  /** The kill comes this many milliseconds after so many steps are done. */
  readonly killAfter: number
  readonly delay: number
  /** The disk lies over an image. */
  readonly overlay: boolean
}

async function killOnce(browser: MortalBrowser, model: FilesModel, plan: Plan) {
  const { run, disk, store, fresh } = plan
  const image = '/pattern.img'
  const machine = {
    memory: 64,
    kernel: '/guest/bzImage',
    initrd: '/guest/initramfs.cpio.zst',
    cmdline: 'quiet',
    devices: [
      { type: 'block', disk, size: 32, store, ...(plan.overlay && { image }) },
      { type: 'block', image },
      { type: 'console' },
      { type: 'entropy' },
    ],
  }
  if (!browser.running) await browser.start()
  supply?.settle()
  // Chromium does not sync the names of new files in OPFS: the system does, within half a minute. Only then a disk there is
  // safe from a power cut, and only such disks are looked at.
  let settled = !(supply && fresh && store === 'opfs')
  let transcript = ''
  let done = -1
  const troubles: string[] = []
  const enough = new Promise<void>((resolve, reject) => {
    browser.page.exposeFunction('said', (text: string) => {
      const from = Math.max(0, transcript.length - 20)
      transcript += text
      if (options['console']) process.stdout.write(text)
      for (const [, n] of transcript.slice(from).matchAll(/did:(\d+):/g)) done = Math.max(done, Number(n))
      if (done >= 0 && !settled) {
        settled = true
        supply?.settle()
      }
      if (done >= plan.killAfter) resolve()
      const [, failed] = /failed:(\S+):/.exec(transcript) ?? []
      if (failed) reject(new Error(`the guest could not do "${failed}"`))
    })
    browser.page.exposeFunction(
      'happened',
      (event: { type: string; title?: string; detail?: string; state?: string }) => {
        if (
          event.type === 'problem' ||
          event.type === 'question' ||
          event.state === 'panicked' ||
          event.state === 'failed'
        )
          reject(new Error(`${event.state ?? event.title}: ${event.detail}`))
      },
    )
    setTimeout(() => reject(new Error('the guest did not get so far in ten minutes')), 600_000).unref()
  })
  try {
    await Promise.all([
      enough,
      browser.page.evaluate(([machine, text]) => window.ringlet.boot(machine, text as string), [
        machine,
        script(plan.writerSeed, run, fresh),
      ] as const),
    ])
    if (plan.delay > 0) await new Promise(resolve => setTimeout(resolve, plan.delay))
  } catch (error) {
    troubles.push((error as Error).message)
  }
  const promised = done
  supply?.cut()
  await browser.kill()
  if (supply) {
    supply.off()
    supply.on()
  }
  model.ran(run, stepsOf(plan.writerSeed), promised)
  await browser.start()
  const file = join(scratch, `${store}.img`)
  const { page } = browser
  await site.take(file, () =>
    page.evaluate(([name, url]) => window.ringlet.store.export(name!, url!), [disk, `${site.url}/take`]),
  )
  copyFileSync(file, `${file}.exported`)
  const faults = [...troubles, ...check(file), ...model.faults(filesOf(file))]
  if (plan.last) await page.evaluate(name => window.ringlet.store.remove(name), disk)
  if (faults.length > 0) {
    const place = join(EVIDENCE, `${store}-${seed}-${run + 1}`)
    mkdirSync(place, { recursive: true })
    copyFileSync(`${file}.exported`, join(place, 'disk.img'))
    writeFileSync(join(place, 'console.txt'), transcript)
    writeFileSync(join(place, 'report.json'), JSON.stringify({ seed, ...plan, promised, faults }, undefined, 2))
  }
  return { done: promised, faults }
}

/** Replays the journal as a mount would, then looks for anything that is not as it should be. */
function check(image: string): string[] {
  const fsck = (...args: string[]) => {
    try {
      return { status: 0, text: String(execFileSync('/usr/sbin/e2fsck', [...args, image], { stdio: 'pipe' })) }
    } catch (error) {
      const { status, stdout, stderr } = error as { status: number; stdout: Buffer; stderr: Buffer }
      return { status, text: `${stdout}${stderr}`.trim() }
    }
  }
  const replay = fsck('-p', '-E', 'journal_only')
  const full = fsck('-fn')
  return [
    ...(replay.status > 1 ? [`the journal cannot be replayed (${replay.status}): ${replay.text}`] : []),
    ...(full.status !== 0 ? [`e2fsck -fn is not content (${full.status}): ${full.text}`] : []),
  ]
}

function filesOf(image: string): Map<string, Uint8Array> {
  const folder = mkdtempSync(join(scratch, 'files-'))
  try {
    execFileSync('/usr/sbin/debugfs', ['-R', `rdump / ${folder}`, image], { stdio: 'pipe' })
    const names = readdirSync(folder, { withFileTypes: true }).filter(entry => entry.isFile())
    return new Map(names.map(({ name }) => [name, readFileSync(join(folder, name))]))
  } finally {
    rmSync(folder, { recursive: true })
  }
}
