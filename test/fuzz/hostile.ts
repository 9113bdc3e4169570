/** Drivers that break rules now and then. Whatever they do, the damage is theirs alone. */

import fc from 'fast-check'
import { EchoDevice } from '../../src/conformance/echo.ts'
import { rigFor } from '../../src/conformance/ours.ts'
import type { Rig } from '../../src/conformance/rig.ts'
import { conformanceVariants } from '../../src/conformance/suite.ts'
import { BlockDevice } from '../../src/devices/block.ts'
import { type BlockBackend, MemoryDisk } from '../../src/devices/block-backend.ts'
import { ConsoleDevice } from '../../src/devices/console.ts'
import { EntropyDevice } from '../../src/devices/entropy.ts'
import { NetDevice } from '../../src/devices/net.ts'
import { cable } from '../../src/devices/net-backend.ts'
import { LinuxError } from '../../src/driver/errno.ts'
import { run } from '../../src/driver/steps.ts'
import { TestBoard } from '../../src/driver/testing.ts'
import type { VirtioDevice } from '../../src/virtio/device.ts'
import { BackendError } from '../../src/virtio/machine.ts'
import { MAX_INDIRECT } from '../../src/virtio/ring.ts'

const RAM = 0x180000
/** Nothing a driver here says is writable lies in it. */
const CANARY = { start: 0x1000, end: 0x21000, byte: 0xc3 }
/** The largest ring here, in descriptors. */
const LARGEST = 256
/** Chains that may be looked at in a step without being taken: one that is refused in each queue, and rings set up. */
const EXTRA = 16
const UNTOUCHED = new Uint8Array(CANARY.end - CANARY.start).fill(CANARY.byte)

interface Kind {
  readonly device: VirtioDevice
  readonly queues: number
  /** What the host does of its own accord. */
  poke?(n: number): void
  /** Whether the device, running, does what it is for. */
  works(rig: Rig): boolean
}

/** Sends a request, and says how many bytes came back. */
function request(rig: Rig, queue: number, out: Uint8Array | undefined, room: number): number | undefined {
  const ring = rig.rings[queue]!
  ring.add(out ? [rig.put(out)] : [], room > 0 ? [rig.room(room)] : [], 0)
  rig.kick(queue)
  return ring.take()?.length
}

const SECTOR_READ = new Uint8Array(16)
const disk = (backend: BlockBackend) => ({ device: new BlockDevice(backend), queues: 1 })

const kinds: Readonly<Record<string, () => Kind>> = {
  entropy: () => ({
    device: new EntropyDevice({ fill: bytes => void bytes.fill(0x5a) }),
    queues: 1,
    works: rig => request(rig, 0, undefined, 8) === 8,
  }),
  console: () => {
    let printed = 0
    const output = (bytes: Uint8Array) => void (printed += bytes.length)
    const device = new ConsoleDevice({ ports: [{ output }, { name: 'second', output() {} }] })
    return {
      device,
      queues: 6,
      poke: n => {
        if (n % 3 === 0) device.resize(n % 2, 1 + (n % 200), 1 + (n % 50))
        else device.input(n % 2, new Uint8Array(n % 300))
      },
      works: rig => {
        printed = 0
        return request(rig, 1, new Uint8Array(3), 0) === 0 && printed === 3
      },
    }
  },
  echo: () => {
    const device = new EchoDevice(16)
    return {
      device,
      queues: 2,
      poke: n => {
        device.hold = n % 2 === 0
        for (const chain of device.held.splice(0)) device.answer(chain)
        if (n % 5 === 0) device.configChanged?.()
      },
      works: rig => {
        device.hold = false
        return request(rig, 0, new Uint8Array(5), 9) === 5
      },
    }
  },
  block: () => ({
    ...disk(new MemoryDisk(new Uint8Array(1 << 16))),
    works: rig => request(rig, 0, SECTOR_READ, 513) === 513,
  }),
  'slow block': () => {
    const slow = new SlowDisk(1 << 16)
    // Its answers come later than anybody looks here.
    return { ...disk(slow), poke: n => void (slow.broken = n % 3 === 0), works: () => true }
  },
  net: () => {
    const [near, far] = cable()
    const device = new NetDevice({ backend: near, mac: 0x525400123456 })
    let arrived = 0
    const receive = (frame: Uint8Array) => {
      arrived++
      if (frame.length % 2) far.send(frame.slice())
    }
    far.connect({ receive, link() {} })
    return {
      device,
      queues: 3,
      poke: n => {
        const frame = new Uint8Array(14 + n).fill(0xff, 0, 12)
        far.send(frame)
      },
      works: rig => {
        arrived = 0
        return request(rig, 1, new Uint8Array(12 + 60), 0) === 0 && arrived === 1
      },
    }
  },
}

/** A disk whose answers come later, and fail when it is broken. */
class SlowDisk implements BlockBackend {
  readonly async = true
  readonly capacity: number
  broken = false
  private readonly disk: MemoryDisk
  constructor(capacity: number) {
    this.capacity = capacity
    this.disk = new MemoryDisk(new Uint8Array(capacity))
  }
  private async later(work: () => void) {
    await undefined
    await undefined
    if (this.broken) throw new BackendError('the disk is broken')
    work()
  }
  read(offset: number, target: Uint8Array) {
    return this.later(() => this.disk.read(offset, target))
  }
  write(offset: number, bytes: Uint8Array) {
    const copy = bytes.slice()
    return this.later(() => this.disk.write(offset, copy))
  }
  flush() {
    return this.later(() => {})
  }
}

// ---- scripts: valid by default, each fault rare ----

const evilNumber = fc.oneof(
  fc.constantFrom(0, 1, 2, 3, 15, 16, 17, 255, 256, 0x7fff, 0x8000, 0xffff, 0x10000, RAM - 8, RAM - 1, RAM, 0x7fffffff),
  fc.constantFrom(0x80000000, 0xd0000200, 0xe0000000, 0xffffffff),
  fc.nat(0xffffffff),
)
/** Values for a descriptor's address: never in the canary, though a length may not reach back to it either. */
const evilAddress = fc.constantFrom(
  ...[0n, 0x100000n, 0x100100n, BigInt(RAM - 4), BigInt(RAM), 0xd0000000n, 0xfffffff8n, 1n << 32n, 1n << 53n],
  ...[(1n << 53n) + 1n, 1n << 63n, (1n << 64n) - 8n],
)
const mutation = fc.oneof(
  fc.record({ at: fc.constant('address' as const), slot: fc.nat(15), value: evilAddress }),
  fc.record({ at: fc.constant('length' as const), slot: fc.nat(15), value: evilNumber }),
  fc.record({ at: fc.constant('flags' as const), slot: fc.nat(15), value: fc.nat(0xffff) }),
  fc.record({ at: fc.constant('next' as const), slot: fc.nat(15), value: fc.nat(0xffff) }),
  fc.record({ at: fc.constant('driver' as const), slot: fc.nat(19), value: fc.nat(0xffff) }),
  fc.record({ at: fc.constant('device' as const), slot: fc.nat(19), value: fc.nat(0xffff) }),
)
const rarely = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof(
    { weight: 7, arbitrary: fc.constant<T[]>([]) },
    { weight: 1, arbitrary: fc.array(arbitrary, { minLength: 1, maxLength: 3 }) },
  )

/** Requests that start like those of each device type, and go on with anything. */
const head = fc.oneof(
  fc.constant<number[]>([]),
  fc
    .tuple(fc.constantFrom(0, 1, 4, 8, 10, 11, 13, 14, 15, 99), fc.oneof(fc.nat(140), evilNumber))
    .map(([type, sector]) => [
      ...[type, 0, 0, 0, 0, 0, 0, 0],
      ...[sector & 255, (sector >>> 8) & 255, (sector >>> 16) & 255, sector >>> 24, 0, 0, 0, 0],
    ]),
  fc.array(fc.constantFrom(0, 0, 0, 1, 2, 3, 4, 5, 128, 255), { minLength: 8, maxLength: 24 }),
)
const action = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constant('request' as const),
      queue: fc.nat(5),
      head,
      more: fc.array(fc.constantFrom(1, 2, 14, 64, 512, 1024), { maxLength: 3 }),
      room: fc.array(fc.constantFrom(1, 1, 4, 12, 20, 512, 1600), { maxLength: 4 }),
      faults: rarely(mutation),
      kick: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('host' as const), n: fc.nat(2000) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('take' as const), queue: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reset' as const), again: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('status' as const), value: fc.nat(255) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('register' as const),
      offset: fc.oneof(fc.nat(0x40), fc.nat(0x3fff), fc.constantFrom(0x3000, 0x50, 0x44, 0x1c, 0x14, 0x12, 0x70)),
      size: fc.constantFrom(1, 2, 4),
      value: evilNumber,
      write: fc.boolean(),
      space: fc.constantFrom('window' as const, 'config' as const),
    }),
  },
)
export const hostileDriver = fc.record({
  kind: fc.constantFrom(...Object.keys(kinds)),
  variant: fc.constantFrom(...conformanceVariants),
  refuse: fc.subarray([28, 29, 35, 38]),
  actions: fc.array(action, { maxLength: 60 }),
})
type Script = typeof hostileDriver extends fc.Arbitrary<infer T> ? T : never

/** Runs a script, and throws if it did any harm beyond its own device. */
export async function runHostile({ kind: name, variant, refuse, actions }: Script) {
  const board = new TestBoard(RAM)
  board.ram.bytes.fill(CANARY.byte, CANARY.start, CANARY.end)
  const bugs: unknown[] = []
  const kind = kinds[name]!()
  const rig = rigFor(board, () => kind.device, variant, { onBug: error => bugs.push(error) })
  const neighbour = rigFor(board, () => new EntropyDevice({ fill: bytes => void bytes.fill(1) }), variant)
  neighbour.start()
  const { core } = rig.inside
  const queues = Array.from({ length: Math.min(kind.queues, core.queues.length) }, (_, i) => i)
  /** Random register writes may put the rings anywhere: then a store there is what was asked for. */
  let wild = false
  /** Descriptors with an address or a length that is not ours: with both they may reach anywhere, and that is allowed. */
  const odd = new Map<string, string>()
  let popped = 0
  const open = new Map<string, number>()
  core.probe = {
    access() {},
    status() {},
    kick() {},
    interrupt() {},
    fault() {},
    pop: (queue, id, _, writable) => {
      popped++
      open.set(`${queue}:${id}`, Math.max(writable, open.get(`${queue}:${id}`) ?? 0))
    },
    complete: (queue, id, written) => {
      const most = open.get(`${queue}:${id}`) ?? 0
      if (written > most) throw new Error(`${written} bytes written into ${most}`)
    },
  }
  const start = () => {
    rig.reset()
    rig.takes = true
    rig.start({ without: refuse }, queues, 16)
  }
  const { pci } = rig.subject
  const header = [0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 4].map(at => [at, pci ? run(pci.read(at, 4)) : 0] as const)
  start()
  for (const act of actions) {
    popped = 0
    const looks = board.ram.looks
    try {
      step(rig, kind, act, queues, start)
    } catch (error) {
      // Our own driver notices a ring that makes no sense, as Linux would: it starts over.
      if (!(error instanceof LinuxError) && !(error instanceof RangeError && /driver's memory/.test(error.message)))
        throw error
      break
    }
    wild ||= act.do === 'register'
    if (act.do === 'request')
      for (const { at, slot } of act.faults) {
        if (at !== 'address' && at !== 'length') continue
        const key = `${act.queue % queues.length}:${slot}`
        wild ||= odd.has(key) && odd.get(key) !== at
        odd.set(key, at)
      }
    const most = core.queues.reduce((sum, { maxSize }) => sum + 2 * maxSize, 0)
    if (popped > most) throw new Error(`${popped} requests were taken in one step, from rings of ${most / 2}`)
    const looked = board.ram.looks - looks
    if (looked > (popped + EXTRA) * (LARGEST + MAX_INDIRECT))
      throw new Error(`${looked} descriptors looked at in one step`)
    if (act.do === 'host') await undefined
  }
  for (let turn = 0; turn < 20; turn++) await undefined
  if (bugs.length > 0) throw bugs[0]
  if (!wild) {
    const canary = board.ram.bytes.subarray(CANARY.start, CANARY.end)
    if (Buffer.compare(canary, UNTOUCHED) !== 0) {
      const at = CANARY.start + canary.findIndex(byte => byte !== CANARY.byte)
      throw new Error(`a store to 0x${at.toString(16)}, which no descriptor offers`)
    }
  }
  // The arena may be used up by now: its memory is only ours to give again after the reset.
  rig.subject.arena.clear()
  core.probe = undefined
  // What firmware set up, it sets up again.
  if (pci) for (const [at, value] of header) run(pci.write(at, 4, value))
  rig.reset()
  if (rig.status() !== 0) throw new Error('the device does not reset')
  rig.takes = false
  if (rig.subject.window && rig.legacy) rig.subject.window.write(0x28, 4, 4096)
  rig.start({}, queues, 16)
  if (rig.status() & 0xc0) throw new Error('the device is dead after a reset')
  if (!kind.works(rig)) throw new Error('the device does not work after a reset')
  for (let turn = 0; turn < 20; turn++) await undefined
  neighbour.reset()
  neighbour.start()
  if (neighbour.request(8) !== 8) throw new Error('another device was harmed')
  if (bugs.length > 0) throw bugs[0]
}

function step(rig: Rig, kind: Kind, act: Script['actions'][number], queues: readonly number[], start: () => void) {
  if (act.do === 'host') kind.poke?.(act.n)
  else if (act.do === 'reset') {
    rig.reset()
    rig.subject.arena.clear()
    start()
  } else if (act.do === 'status') rig.setStatus(act.value)
  else if (act.do === 'register') register(rig, act)
  else if (act.do === 'take') rig.rings[queues[act.queue % queues.length]!]?.take()
  else {
    const index = queues[act.queue % queues.length]!
    const ring = rig.rings[index]
    if (!ring) return
    const out = act.head.length > 0 ? [rig.put(Uint8Array.from(act.head))] : []
    for (const length of act.more) out.push(rig.put(new Uint8Array(length).fill(length & 7)))
    const room = act.room.map(length => rig.room(length))
    if (out.length + room.length === 0) return
    ring.add(out, room, 0)
    const { view } = rig.memory
    const { desc, driver, device, size } = ring.placement
    for (const { at, slot, value } of act.faults) {
      const descriptor = desc + 16 * (slot % size)
      if (at === 'address') view.setBigUint64(descriptor, value, true)
      else if (at === 'length') view.setUint32(descriptor + 8, value, true)
      else if (at === 'flags') view.setUint16(descriptor + (rig.variant.packed ? 14 : 12), value, true)
      else if (at === 'next') view.setUint16(descriptor + (rig.variant.packed ? 12 : 14), value, true)
      else if (at === 'driver') view.setUint16(driver + 2 * (rig.variant.packed ? slot % 2 : slot), value, true)
      else view.setUint16(device + 2 * (rig.variant.packed ? slot % 2 : slot), value, true)
    }
    if (act.kick) rig.kick(index)
  }
}

function register(
  rig: Rig,
  { offset, size, value, write, space }: Extract<Script['actions'][number], { do: 'register' }>,
) {
  const { window, pci } = rig.subject
  if (window) {
    if (write) window.write(offset & 0x1ff, size, value)
    else window.read(offset & 0x1ff, size)
  } else if (space === 'config') {
    if (write) run(pci!.write(offset & 0xff, size, value))
    else run(pci!.read(offset & 0xff, size))
  } else {
    const { modern, legacy } = rig.inside.windows
    for (const target of [modern, legacy]) {
      if (write) target?.write(offset % target.length, size, value)
      else target?.read(offset % target.length, size)
    }
  }
}
