import { cpSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { MachineEvent } from '../../worker/api.ts'
import type { MortalBrowser } from './browser.ts'
import { type FilesModel, script, stepsOf } from './guest-writer.ts'
import { checkExt4, filesOfExt4 } from './inspect.ts'
import type { PowerSupply } from './power.ts'
import type { diskSite } from './site.ts'

export interface Surroundings {
  readonly site: Awaited<ReturnType<typeof diskSite>>
  readonly browser: MortalBrowser
  /** With it, power is cut at each kill. */
  readonly supply?: PowerSupply | undefined
  /** A folder for files. */
  readonly scratch: string
  /** Where the evidence of a failed run goes. */
  readonly evidence: string
  /** Told what the guest says. */
  readonly console: (text: string) => void
}

export interface Plan {
  /** Counted from 0. */
  readonly run: number
  readonly stores: readonly { readonly store: string; readonly seed: number; readonly model: FilesModel }[]
  /** Of the disk on each store; it is new if `fresh`, and deleted afterwards if `last`. */
  readonly disk: string
  readonly fresh: boolean
  readonly last: boolean
  /** The disks lie over an image. */
  readonly overlay: boolean
  /** The kill comes this many milliseconds after so many steps are done. */
  readonly killAfter: number
  readonly delay: number
}

export interface Outcome {
  /** By store: the steps surely done, and what was wrong afterwards. */
  readonly done: readonly number[]
  readonly faults: readonly string[][]
}

/** The names OPFS gives to files, not the files: LevelDB's logs. */
const NAMES = /File System\/.*(Paths|Origins)\/\w/
const PATTERN = '/pattern.img'

/** A guest writes, everything is killed, and what is left is looked at. Leaves a browser running. */
export async function killOnce(plan: Plan, around: Surroundings): Promise<Outcome> {
  const { browser, supply } = around
  if (!browser.running) await browser.start()
  supply?.settle()
  const { done, trouble, transcript } = await write(plan, around)
  supply?.cut()
  await browser.kill()
  if (supply) {
    supply.off()
    supply.on()
  }
  const left = join(around.scratch, 'left')
  rmSync(left, { recursive: true, force: true })
  for (const store of ['IndexedDB', 'File System'])
    cpSync(join(browser.profile, 'Default', store), join(left, store), { recursive: true })
  await browser.start()
  const faults: string[][] = []
  for (const [i, { store, seed, model }] of plan.stores.entries()) {
    model.ran(plan.run, stepsOf(seed), done[i]!)
    const image = join(around.scratch, `${store}.img`)
    const found = await exportDisk(`${plan.disk}-${store}`, image, around)
    if (found.length === 0) found.push(...checkExt4(image), ...model.faults(filesOfExt4(image, around.scratch)))
    faults.push(trouble === undefined ? found : [trouble, ...found])
    if (faults[i]!.length > 0) {
      const place = join(around.evidence, `${store}-${plan.run + 1}`)
      mkdirSync(place, { recursive: true })
      if (existsSync(image)) renameSync(image, join(place, 'disk.img'))
      cpSync(left, join(place, 'profile'), { recursive: true })
      writeFileSync(join(place, 'console.txt'), transcript)
      const report = { ...plan, stores: undefined, store, seed, done: done[i], faults: faults[i] }
      writeFileSync(join(place, 'report.json'), JSON.stringify(report, undefined, 2))
    }
    if (plan.last) await browser.page.evaluate(name => window.ringlet.store.remove(name), `${plan.disk}-${store}`)
  }
  return { done, faults }
}

/** Boots a guest whose writers run until the kill is due. `done`: the last step each has said to be done. */
async function write(plan: Plan, { browser, supply, console }: Surroundings) {
  const { stores, run, fresh, disk, overlay } = plan
  const machine = {
    ...{ memory: 64, kernel: '/guest/bzImage', initrd: '/guest/initramfs.cpio.zst', cmdline: 'quiet' },
    devices: [
      ...stores.map(({ store }) => ({
        ...{ type: 'block', disk: `${disk}-${store}`, size: 32, store, ...(overlay && { image: PATTERN }) },
      })),
      ...[{ type: 'block', image: PATTERN }, { type: 'console' }, { type: 'entropy' }],
    ],
  }
  const writers = stores.map(({ store, seed }) => ({ tag: store, seed, fresh }))
  const done = stores.map(() => -1)
  // Chromium does not sync the names of new files in OPFS; the system does, within half a minute. Only then a disk there is
  // safe from a power cut, so they are made to last as soon as they are there.
  let named = !fresh
  let transcript = ''
  let due!: () => void
  const trouble = new Promise<string | undefined>(resolve => {
    due = () => resolve(undefined)
    const happened = (event: MachineEvent) => {
      if (event.type === 'problem' || event.type === 'question') resolve(`${event.title}: ${event.detail}`)
      else if (event.type === 'state' && /panicked|failed|fault/.test(event.state)) resolve(event.state)
    }
    const said = (text: string) => {
      console(text)
      const from = Math.max(0, transcript.length - 40)
      transcript += text
      for (const [, tag, n] of transcript.slice(from).matchAll(/did:(\w+):(\d+):/g)) {
        const i = stores.findIndex(({ store }) => store === tag)
        done[i] = Math.max(done[i]!, Number(n))
      }
      const [, what] = /failed:(\w+:\w+):/.exec(transcript) ?? []
      if (what) resolve(`the guest could not do ${what}`)
      if (done.some(step => step < 0)) return
      if (!named) supply?.settle(NAMES)
      named = true
      if (done.reduce((all, step) => all + step + 1, 0) > plan.killAfter) due()
    }
    setTimeout(() => resolve('the guest did not get so far in ten minutes'), 600_000).unref()
    Promise.all([browser.page.exposeFunction('happened', happened), browser.page.exposeFunction('said', said)])
      .then(() =>
        browser.page.evaluate(([machine, script]) => window.ringlet.boot(machine, script as string), [
          machine,
          script(writers, run),
        ] as const),
      )
      .catch(error => resolve(String(error)))
  })
  const result = await trouble
  if (plan.delay > 0) await new Promise(resolve => setTimeout(resolve, plan.delay))
  return { done, trouble: result, transcript }
}

async function exportDisk(name: string, image: string, { browser, site }: Surroundings): Promise<string[]> {
  const url = `${site.url}/take`
  try {
    await site.take(image, () =>
      browser.page.evaluate(([name, url]) => window.ringlet.store.export(name!, url!), [name, url]),
    )
    return []
  } catch (error) {
    return [`the disk cannot be read: ${(error as Error).message}`]
  }
}
