import { setTimeout } from 'node:timers/promises'
import type { JSHandle, Page } from '@playwright/test'
import { initrdWithLoad } from './block/guest.ts'
import { memoryWhenIdle } from './block/idle.ts'
import { streaming } from './block/streaming.ts'
import { BenchBrowser } from './harness/browser.ts'
import { type Benchmark, type Row, row, type Target } from './harness/row.ts'
import type { Bench } from './page/page.ts'

declare const bench: Bench

const RUNS = Number(process.env['RINGLET_BENCH_RUNS'] ?? 5)
/** Rounds that are not counted: v86 translates code only once it has run for a while. */
const WARMUPS = 2
/** Of every disk, in MiB. */
const SIZE = 64
/** Of a buffered run, in MiB. */
const BUFFERED = 48
/** Of a direct run, in milliseconds; and of one with fsyncs, which must find its code translated and the browser done with the last. */
const DURATION = 500
const FSYNC_DURATION = 1500
const FSYNC_WARMUPS = 3
/** Until the browser's processes have dealt with what was written before, in milliseconds. */
const SETTLED = 5000
const MIB = 2 ** 20

/** What `disk-load` is told: kind, bytes of one transfer, transfers in flight. */
interface Load {
  readonly what: string
  readonly kind: string
  readonly block: number
  readonly depth: number
}
const direct = (what: string, kind: string, block: number, depth: number): Load => ({ what, kind, block, depth })
const loads = {
  read: direct('sequential direct 1 MiB read', 'read', MIB, 1),
  write: direct('sequential direct 1 MiB write', 'write', MIB, 1),
  read1: direct('random 4 KiB read, depth 1', 'randread', 4096, 1),
  write1: direct('random 4 KiB write, depth 1', 'randwrite', 4096, 1),
  read16: direct('random 4 KiB read, depth 16', 'randread', 4096, 16),
  write16: direct('random 4 KiB write, depth 16', 'randwrite', 4096, 16),
  bufread: direct('buffered sequential read', 'bufread', MIB, BUFFERED),
  bufwrite: direct('buffered sequential write and fsync', 'bufwrite', MIB, BUFFERED),
  fsync: direct('4 KiB write + fsync', 'fsync', 4096, 1),
} satisfies Record<string, Load>
type LoadName = keyof typeof loads

/** By the device in our guest. */
const disks = { vda: 'memory', vdb: 'OPFS', vdc: 'IndexedDB' } as const
type Disk = keyof typeof disks
/** Those that last, and what they lie on. */
const lasting = [
  ['vdb', 'opfs'],
  ['vdc', 'indexeddb'],
] as const
const targets: Readonly<Record<Disk, Partial<Record<LoadName, number>>>> = {
  vda: { read: 1.5, write: 1.5, read1: 2, write1: 2, read16: 4, write16: 4 },
  vdb: { read: 1, write: 1, read1: 1.5, write1: 1.5, read16: 3, write16: 3 },
  vdc: { bufread: 0.7, bufwrite: 0.7, read16: 1, write16: 1 },
}

interface Guest {
  run(command: string): Promise<string>
}
/** Transfers a second. */
async function measure(guest: JSHandle<Guest>, device: string, { kind, block, depth }: Load): Promise<number> {
  const duration = kind === 'fsync' ? FSYNC_DURATION : DURATION
  const command = `echo 3 > /proc/sys/vm/drop_caches; disk-load /dev/${device} ${kind} ${block} ${depth} ${duration}`
  const said = await guest.evaluate((shell, command) => shell.run(command), command)
  const [, count, micros] = /did (\d+) in (\d+)/.exec(said) ?? []
  if (!micros) throw new Error(`${command}: ${said}`)
  return (Number(count) / Number(micros)) * 1e6
}

/** Results by who did what, a number for each round. */
class Results {
  private readonly rates = new Map<string, number[]>()
  add(key: string, rate: number) {
    const rates = this.rates.get(key)
    if (rates) rates.push(rate)
    else this.rates.set(key, [rate])
  }
  row(what: string, ours: string, peer: string, block: number, target?: Target): Row {
    const large = block === MIB
    const scale = (key: string) => this.rates.get(key)!.map(rate => (large ? (rate * block) / 1e6 : rate))
    return row({ what, unit: large ? 'MB/s' : '/s', ours: scale(ours), peer: scale(peer), ...(target && { target }) })
  }
}

async function boot(page: Page) {
  const guest = {
    memory: 256,
    kernel: new URL('guest/bzImage', page.url()).href,
    initrd: new URL('bench/initrd', page.url()).href,
  }
  const ours = await page.evaluateHandle(machine => bench.ourDisks(machine), {
    ...guest,
    cmdline: `quiet brd.rd_nr=1 brd.rd_size=${SIZE * 1024}`,
    devices: [
      { type: 'block', size: SIZE },
      { type: 'block', size: SIZE, disk: 'bench opfs', store: 'opfs' },
      { type: 'block', size: SIZE, disk: 'bench indexeddb', store: 'indexeddb' },
      { type: 'console' },
      { type: 'entropy' },
    ],
  })
  const ide = await page.evaluateHandle(machine => bench.theirDisk(machine), { ...guest, cmdline: 'quiet', size: SIZE })
  return { ours, ide }
}

async function* disksAgainstIde(chromium: BenchBrowser): AsyncIterable<Row> {
  const page = await chromium.page()
  const { ours, ide } = await boot(page)
  const results = new Results()
  // Lasting disks are to be warm: their blocks there, and both kernels' code translated.
  for (const device of Object.keys(disks)) await measure(ours, device, { ...loads.bufwrite, depth: SIZE })
  for (let round = 1 - WARMUPS; round <= RUNS; round++) {
    process.stderr.write(round < 1 ? 'warming up\n' : `round ${round} of ${RUNS}\n`)
    const note = async (who: string, load: LoadName, work: () => Promise<number>) => {
      const rate = await work()
      if (round > 0) results.add(`${who} ${load}`, rate)
    }
    for (const load of Object.keys(loads) as LoadName[]) {
      const wanted = (Object.keys(disks) as Disk[]).filter(disk => targets[disk][load])
      if (wanted.length > 0) await note('sda', load, () => measure(ide, 'sda', loads[load]))
      for (const disk of wanted) {
        // What is read from IndexedDB is warm while it is in our memory, which lets go of it after a while.
        if (disk === 'vdc') await measure(ours, disk, { ...loads.bufread, depth: SIZE })
        await note(disk, load, () => measure(ours, disk, loads[load]))
        if (disk === 'vdc' && load === 'bufwrite')
          await note('indexeddb', load, () => page.evaluate(() => bench.rawStore('indexeddbInARow')))
      }
      if (load === 'read' || load === 'write') await note('ram0', load, () => measure(ours, 'ram0', loads[load]))
    }
  }
  for (const [disk, store] of lasting) {
    await setTimeout(SETTLED)
    for (let round = 1 - FSYNC_WARMUPS; round <= RUNS; round++) {
      process.stderr.write(round < 1 ? `fsync, ${store}: warming up\n` : `fsync, ${store}: round ${round} of ${RUNS}\n`)
      const rates = {
        [disk]: await measure(ours, disk, loads.fsync),
        [store]: await page.evaluate(store => bench.rawStore(store), store),
        ...(store === 'opfs' && { vda: await measure(ours, 'vda', loads.fsync) }),
      }
      if (round > 0) for (const [who, rate] of Object.entries(rates)) results.add(`${who} fsync`, rate)
    }
  }
  for (const disk of Object.keys(disks) as Disk[])
    for (const load of Object.keys(targets[disk]) as LoadName[]) {
      const { what, block } = loads[load]
      const target = { atLeast: targets[disk][load]! }
      yield results.row(
        `${disks[disk]}: ${what}, against v86’s IDE in memory`,
        `${disk} ${load}`,
        `sda ${load}`,
        block,
        target,
      )
    }
  for (const [disk, store] of lasting)
    yield results.row(
      `${disks[disk]}: 4 KiB write + fsync, against the bare store`,
      `${disk} fsync`,
      `${store} fsync`,
      4096,
      { atLeast: 0.6 },
    )
  yield results.row(
    'IndexedDB: buffered sequential write and fsync, against the bare store',
    ...(['vdc bufwrite', 'indexeddb bufwrite', MIB] as const),
  )
  yield results.row(
    'memory: 4 KiB write + fsync, what the guest itself can do, against the bare OPFS',
    ...(['vda fsync', 'opfs fsync', 4096] as const),
  )
  for (const load of ['read', 'write'] as const)
    yield results.row(`memory: ${loads[load].what}, against brd`, `vda ${load}`, `ram0 ${load}`, MIB, { atLeast: 0.8 })
  await page.close()
}

async function* run(): AsyncIterable<Row> {
  const chromium = await BenchBrowser.open({
    files: new Map([['/bench/initrd', await initrdWithLoad()]]),
    profile: true,
  })
  try {
    yield* disksAgainstIde(chromium)
    yield* streaming(chromium, RUNS)
    yield* memoryWhenIdle(chromium)
  } finally {
    await chromium.close()
  }
}

export default {
  title: 'Disks in Chromium, against v86’s IDE disk in memory and against what bounds them',
  run,
} satisfies Benchmark
