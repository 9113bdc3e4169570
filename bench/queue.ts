import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { VirtioDevice } from '../src/virtio/device.ts'
import type { ArrayMemory } from '../src/virtio/machine.ts'
import type { Probe } from '../src/virtio/probe.ts'
import type { Virtqueue } from '../src/virtio/queue.ts'
import { type Benchmark, compare, type Row } from './harness/row.ts'

const SIZE = 256
/** Requests a kick, each of one readable and one writable descriptor. */
const BATCH = 64
const RUNS = 9
const MILLISECONDS = 250
const [DESC, DRIVER, DEVICE, BUFFERS] = [0x1000, 0x3000, 0x4000, 0x10000]
const { NEXT, WRITE, AVAIL, USED } = { NEXT: 1, WRITE: 2, AVAIL: 0x80, USED: 0x8000 }

interface Build {
  readonly MmioTransport: typeof import('../src/virtio/mmio.ts').MmioTransport
  readonly Registers: typeof import('../src/virtio/mmio.ts').Registers
  readonly ArrayMemory: typeof import('../src/virtio/machine.ts').ArrayMemory
}

/** A copy of `src/virtio` with a just-in-time compiler's memory of its own; `strip` takes every probe call out of it. */
async function build(name: string, strip = false): Promise<Build> {
  const from = new URL('../src/virtio', import.meta.url).pathname
  const to = new URL(`../.cache/bench/queue/${name}`, import.meta.url).pathname
  rmSync(to, { recursive: true, force: true })
  cpSync(from, to, { recursive: true })
  for (const file of strip ? readdirSync(to) : []) {
    const source = readFileSync(join(to, file), 'utf8')
    const stripped = source.replace(/^ *(if \(.*\) )?[\w.]*probe\?\.\w+\((.*|[^;]*?\n)\)$/gm, '')
    if (/^(?! *\*).*probe\?\./m.test(stripped)) throw new Error(`a probe call in ${file} is not taken out`)
    writeFileSync(join(to, file), stripped)
  }
  return { ...(await import(join(to, 'mmio.ts'))), ...(await import(join(to, 'machine.ts'))) }
}

/** Completes whatever comes. */
function sink(): VirtioDevice {
  return {
    spec: { id: 4, name: 'sink', section: 'none', queues: ['requestq'], features: {} },
    offers: [],
    queueSize: SIZE,
    kick(queue: Virtqueue) {
      for (const chain of queue) chain.complete()
    },
  }
}
const silent: Probe = { access() {}, status() {}, kick() {}, pop() {}, complete() {}, interrupt() {}, fault() {} }

interface Bench {
  readonly memory: ArrayMemory
  kick(): void
}

function device({ MmioTransport, Registers, ArrayMemory }: Build, packed: boolean, probe?: Probe): Bench {
  const memory = new ArrayMemory(1 << 20)
  const transport = new MmioTransport(sink(), { memory, line: { set() {} } })
  const set = (name: keyof typeof Registers, value: number) => transport.write(Registers[name].at, 4, value)
  set('Status', 3)
  set('DriverFeaturesSel', 1)
  set('DriverFeatures', packed ? 5 : 1)
  set('Status', 11)
  set('QueueSize', SIZE)
  set('QueueDescLow', DESC)
  set('QueueDriverLow', DRIVER)
  set('QueueDeviceLow', DEVICE)
  set('QueueReady', 1)
  set('Status', 15)
  transport.core.probe = probe
  // No interrupts: this is about rings.
  if (packed) memory.setU16(DRIVER + 2, 1)
  else memory.setU16(DRIVER, 1)
  return { memory, kick: () => transport.write(0x50, 4, 0) }
}

/** The limit: all the same bytes read, checked and written, by one loop that knows nothing else. */
function byHand({ ArrayMemory }: Build): Bench {
  const memory = new ArrayMemory(1 << 20)
  const { view } = memory
  let next = 0
  let used = 0
  const kick = () => {
    const idx = view.getUint16(DRIVER + 2, true)
    while (next !== idx) {
      const head = view.getUint16(DRIVER + 4 + 2 * (next & (SIZE - 1)), true)
      next = (next + 1) & 0xffff
      let written = 0
      for (let at = DESC + 16 * head, steps = 0; steps < SIZE; steps++) {
        const address = view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32
        const length = view.getUint32(at + 8, true)
        const flags = view.getUint16(at + 12, true)
        if (address + length > memory.size) throw new RangeError('outside RAM')
        if (flags & WRITE) written = 0
        if (!(flags & NEXT)) break
        at = DESC + 16 * view.getUint16(at + 14, true)
      }
      const slot = DEVICE + 4 + 8 * (used & (SIZE - 1))
      memory.setU32Pair(slot, head, written)
      used = (used + 1) & 0xffff
    }
    memory.setU16(DEVICE + 2, used)
    view.getUint16(DRIVER, true)
  }
  return { memory, kick }
}

/** The driver's part: descriptors written once, heads offered again and again. */
function splitDriver({ memory, kick }: Bench): () => void {
  const { view } = memory
  for (let i = 0; i < SIZE; i++) {
    const at = DESC + 16 * i
    view.setUint32(at, BUFFERS + 64 * i, true)
    view.setUint32(at + 8, 64, true)
    view.setUint16(at + 12, i % 2 === 0 ? NEXT : WRITE, true)
    view.setUint16(at + 14, i + 1, true)
    view.setUint16(DRIVER + 4 + 2 * i, (2 * i) % SIZE, true)
  }
  let idx = 0
  return () => {
    idx = (idx + BATCH) & 0xffff
    view.setUint16(DRIVER + 2, idx, true)
    kick()
    if (view.getUint16(DEVICE + 2, true) !== idx) throw new Error('the requests were not used')
  }
}
function packedDriver({ memory, kick }: Bench): () => void {
  const { view } = memory
  let position = 0
  return () => {
    for (let i = 0; i < 2 * BATCH; i++) {
      const slot = position % SIZE
      const at = DESC + 16 * slot
      view.setUint32(at, BUFFERS + 64 * slot, true)
      view.setUint32(at + 8, 64, true)
      view.setUint16(at + 12, slot >> 1, true)
      view.setUint16(at + 14, (i % 2 === 0 ? NEXT : WRITE) | (position < SIZE ? AVAIL : USED), true)
      position = (position + 1) % (2 * SIZE)
    }
    kick()
  }
}

/** Descriptors a second. */
function rate(round: () => void): number {
  const start = performance.now()
  let rounds = 0
  while (performance.now() - start < MILLISECONDS) for (let i = 0; i < 100; i++, rounds++) round()
  return (rounds * 2 * BATCH * 1000) / (performance.now() - start)
}

async function* run(): AsyncGenerator<Row> {
  for (const [format, driver] of [
    ['split', splitDriver],
    ['packed', packedDriver],
  ] as const) {
    const packed = format === 'packed'
    const off = driver(device(await build(`${format}-off`), packed))
    const on = driver(device(await build(`${format}-on`), packed, silent))
    const stripped = driver(device(await build(`${format}-stripped`, true), packed))
    const unit = 'descriptors/s'
    const options = { unit, runs: RUNS }
    for (const warm of [off, on, stripped]) rate(warm)
    const [ours, peer] = [() => rate(off), () => rate(stripped)]
    yield await compare({
      ...options,
      what: `${format}, probe off against a build without probes`,
      ours,
      peer,
      target: { atLeast: 0.98 },
    })
    yield await compare({ ...options, what: `${format}, probe on against off`, ours: () => rate(on), peer: ours })
    if (packed) continue
    const hand = splitDriver(byHand(await build('hand')))
    rate(hand)
    yield await compare({
      ...options,
      what: 'split against a hand-written loop',
      ours,
      peer: () => rate(hand),
      target: { atLeast: 0.5 },
    })
  }
}

export default {
  title: 'descriptors through kick, pop and complete: split and packed, probe off, on and taken out, and by hand',
  run,
} satisfies Benchmark
