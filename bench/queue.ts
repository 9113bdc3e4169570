import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ArrayMemory } from '../src/virtio/machine.ts'
import type { Probe } from '../src/virtio/probe.ts'
import { type Benchmark, compare, type Row } from './harness/row.ts'
import { packedByHand, splitByHand } from './queue/by-hand.ts'

const RINGS = { size: 256, desc: 0x1000, driver: 0x3000, device: 0x4000 }
const BUFFERS = 0x10000
/** Requests a kick, each of one readable and one writable descriptor. */
const BATCH = 64
/** Short and many, taken in turn: what slows the processor down then slows both sides. */
const RUNS = 41
const MILLISECONDS = 40
const { NEXT, WRITE, AVAIL, USED } = { NEXT: 1, WRITE: 2, AVAIL: 0x80, USED: 0x8000 }

interface Build {
  readonly MmioTransport: typeof import('../src/virtio/mmio.ts').MmioTransport
  readonly Registers: typeof import('../src/virtio/mmio.ts').Registers
  readonly ArrayMemory: typeof import('../src/virtio/machine.ts').ArrayMemory
  readonly Sink: typeof import('./queue/sink.ts').Sink
}

/** A copy of `src/virtio` and of the device, compiled for itself; `strip` takes every probe call out of it. */
async function build(name: string, strip = false): Promise<Build> {
  const here = (path: string) => new URL(path, import.meta.url).pathname
  const to = here(`../.cache/bench/queue/${name}`)
  rmSync(to, { recursive: true, force: true })
  cpSync(here('../src/virtio'), to, { recursive: true })
  cpSync(here('queue/sink.ts'), join(to, 'sink.ts'))
  for (const file of strip ? readdirSync(to) : []) {
    const source = readFileSync(join(to, file), 'utf8')
    const stripped = source.replace(/^ *(if \(.*\) )?[\w.]*probe\?\.\w+\((.*|[^;]*?\n)\)$/gm, '')
    if (/^(?! *\*).*probe\?\./m.test(stripped)) throw new Error(`a probe call in ${file} is not taken out`)
    writeFileSync(join(to, file), stripped)
  }
  const parts = ['mmio.ts', 'machine.ts', 'sink.ts'].map(file => import(join(to, file)))
  return Object.assign({}, ...(await Promise.all(parts)))
}
const silent: Probe = { access() {}, status() {}, kick() {}, pop() {}, complete() {}, interrupt() {}, fault() {} }

interface Bench {
  readonly memory: ArrayMemory
  kick(): void
}

/** No interrupts: this is about rings. */
function quiet(memory: ArrayMemory, packed: boolean) {
  memory.setU16(RINGS.driver + (packed ? 2 : 0), 1)
}

/** A whole device: a write to its notification register, the iterator, chains, completion, the used ring. */
function device({ MmioTransport, Registers, ArrayMemory, Sink }: Build, packed: boolean, probe?: Probe): Bench {
  const memory = new ArrayMemory(1 << 20)
  const transport = new MmioTransport(new Sink(RINGS.size), { memory, line: { set() {} } })
  const set = (name: keyof typeof Registers, value: number) => transport.write(Registers[name].at, 4, value)
  set('Status', 3)
  set('DriverFeaturesSel', 1)
  set('DriverFeatures', packed ? 5 : 1)
  set('Status', 11)
  set('QueueSize', RINGS.size)
  set('QueueDescLow', RINGS.desc)
  set('QueueDriverLow', RINGS.driver)
  set('QueueDeviceLow', RINGS.device)
  set('QueueReady', 1)
  set('Status', 15)
  transport.core.probe = probe
  quiet(memory, packed)
  return { memory, kick: () => transport.write(Registers.QueueNotify.at, 4, 0) }
}

function byHand({ ArrayMemory }: Build, packed: boolean): Bench {
  const memory = new ArrayMemory(1 << 20)
  quiet(memory, packed)
  return { memory, kick: packed ? packedByHand(memory, RINGS) : splitByHand(memory, RINGS) }
}

/** The driver's part: descriptors written once, heads offered again and again. */
function splitDriver({ memory, kick }: Bench): () => void {
  const { view } = memory
  const { size, desc, driver, device } = RINGS
  for (let i = 0; i < size; i++) {
    const at = desc + 16 * i
    view.setUint32(at, BUFFERS + 64 * i, true)
    view.setUint32(at + 8, 64, true)
    view.setUint16(at + 12, i % 2 === 0 ? NEXT : WRITE, true)
    view.setUint16(at + 14, i + 1, true)
    view.setUint16(driver + 4 + 2 * i, (2 * i) % size, true)
  }
  let idx = 0
  return () => {
    idx = (idx + BATCH) & 0xffff
    view.setUint16(driver + 2, idx, true)
    kick()
    if (view.getUint16(device + 2, true) !== idx) throw new Error('the requests were not used')
  }
}

/** Here it has to write every descriptor again, as used ones stand where it put them: it copies the whole ring's. */
function packedDriver({ memory, kick }: Bench): () => void {
  const { size, desc } = RINGS
  const lap = (bit: number) => {
    const view = new DataView(new ArrayBuffer(16 * size))
    for (let i = 0; i < size; i++) {
      view.setUint32(16 * i, BUFFERS + 64 * i, true)
      view.setUint32(16 * i + 8, 64, true)
      view.setUint16(16 * i + 12, i >> 1, true)
      view.setUint16(16 * i + 14, (i % 2 === 0 ? NEXT : WRITE) | bit, true)
    }
    return new Uint8Array(view.buffer)
  }
  const laps = [lap(AVAIL), lap(USED)]
  let position = 0
  return () => {
    const start = 16 * (position % size)
    memory.bytes.set(laps[position < size ? 0 : 1]!.subarray(start, start + 32 * BATCH), desc + start)
    kick()
    const flags = memory.view.getUint16(desc + start + 32 * (BATCH - 1) + 14, true)
    if ((flags & (AVAIL | USED)) !== (position < size ? AVAIL | USED : 0)) throw new Error('the requests were not used')
    position = (position + 2 * BATCH) % (2 * size)
  }
}

/** Descriptors in a second of this process's own processor time: other processes take nothing away from it. */
function rate(round: () => void): number {
  const start = process.cpuUsage()
  let rounds = 0
  for (;;) {
    for (let i = 0; i < 50; i++) round()
    rounds += 50
    const { user, system } = process.cpuUsage(start)
    if (user + system > 1000 * MILLISECONDS) return (rounds * 2 * BATCH * 1e6) / (user + system)
  }
}

async function* run(): AsyncGenerator<Row> {
  for (const packed of [false, true]) {
    const format = packed ? 'packed' : 'split'
    const driver = packed ? packedDriver : splitDriver
    const off = driver(device(await build(`${format}-off`), packed))
    const on = driver(device(await build(`${format}-on`), packed, silent))
    const stripped = driver(device(await build(`${format}-stripped`, true), packed))
    const hand = driver(byHand(await build(`${format}-hand`), packed))
    for (const warm of [off, on, stripped, hand]) for (let i = 0; i < 10; i++) rate(warm)
    const options = { unit: 'descriptors/s', runs: RUNS, ours: () => rate(off) }
    yield await compare({
      ...options,
      what: `${format}, probe off against a build without probes`,
      peer: () => rate(stripped),
      target: { atLeast: 0.98 },
    })
    yield await compare({
      ...options,
      what: `${format}, probe on against off`,
      ours: () => rate(on),
      peer: options.ours,
    })
    yield await compare({
      ...options,
      what: `${format} against a loop written by hand`,
      peer: () => rate(hand),
      ...(!packed && { target: { atLeast: 0.5 } }),
    })
  }
}

export default {
  title: 'descriptors through kick, pop and complete: split and packed, probe off, on and taken out, and by hand',
  run,
} satisfies Benchmark
