import type { Arena } from '../driver/arena.ts'
import { PackedDriverRing } from '../driver/packed-queue.ts'
import type { PciDevice, Platform } from '../driver/pci-device.ts'
import { ModernPci } from '../driver/pci-modern.ts'
import type { QueueFeatures } from '../driver/queue.ts'
import { SplitDriverRing } from '../driver/split-queue.ts'
import { type Registers, run } from '../driver/steps.ts'
import type { TransportName } from '../driver/testing.ts'
import type { Placement, Transport } from '../driver/transport.ts'
import type { VirtioCore } from '../virtio/core.ts'
import { Feature, Status } from '../virtio/core.ts'
import type { GuestMemory, Window } from '../virtio/machine.ts'
import { PackedDescriptor } from '../virtio/packed-ring.ts'
import type { CommonRegisters } from '../virtio/pci-modern.ts'
import { Descriptor } from '../virtio/split-ring.ts'
import type { EchoDevice } from './echo.ts'

/** A device under test, as its driver can reach it: ours, or another implementation's. */
export interface Subject {
  readonly transport: Transport
  /** An mmio device's registers. */
  readonly window?: Window
  /** An mmio slot of the same machine with nothing in it. */
  readonly empty?: Window
  /** A PCI device's configuration space. */
  readonly pci?: PciDevice
  readonly platform: Platform
  readonly memory: GuestMemory
  readonly arena: Arena
  /** The interrupt line. */
  level(): boolean
  /** Gives the device time for what it does later. */
  settle(): void
  /** Bytes a console has put out so far. */
  output?(): Uint8Array
  readonly inside?: Inside
}

/** What can be seen of our own implementation alone. */
export interface Inside {
  readonly core: VirtioCore
  readonly echo?: EchoDevice
  /** The windows of a PCI function, without going through its BARs. */
  readonly windows: { readonly modern?: Window | undefined; readonly legacy?: Window | undefined }
  /** What the same device offers with these bits masked. */
  masked(mask: readonly number[]): bigint
  /** Addresses the device stores to while `work` runs, in order. */
  stores(work: () => void): number[]
  /** How many buffers, tables and rings the device looked at while `work` ran. */
  looks(work: () => void): number
  /** Pulls a PCI function out. */
  unplug(): void
}

export type SubjectKind = 'entropy' | 'console' | 'echo'

export interface Variant {
  readonly transport: TransportName
  readonly packed: boolean
  /** A transitional function, driven through its legacy interface. */
  readonly forceLegacy?: boolean
}

/** The device breaks a rule. */
export class Violation extends Error {
  override name = 'Violation'
}
export function check(holds: boolean, message: string): asserts holds {
  if (!holds) throw new Violation(message)
}
export function same(actual: unknown, expected: unknown, what: string) {
  const show = (value: unknown) => (typeof value === 'number' && value > 9 ? `0x${value.toString(16)}` : `${value}`)
  check(actual === expected, `${what} is ${show(actual)}, not ${show(expected)}`)
}

/** One descriptor as a test writes it. Without `next` it goes on to the one after it, the last one ends. */
export interface RawDescriptor {
  readonly addr: number | bigint
  readonly len: number
  /** WRITE and INDIRECT; NEXT is added. The same bits in both formats. */
  readonly flags?: number
  readonly next?: number
}
export const { NEXT, WRITE, INDIRECT } = Descriptor.fields.flags.bits

export interface Negotiation {
  /** Bits not to take. */
  readonly without?: readonly number[]
}

/** The suite's own driver: it can do what no driver may. */
export class Rig {
  features = 0n
  readonly rings: (SplitDriverRing<number> | PackedDriverRing<number>)[] = []

  constructor(
    readonly subject: Subject,
    readonly variant: Variant,
  ) {}

  get transport() {
    return this.subject.transport
  }
  get legacy() {
    return this.transport.legacy
  }
  get memory() {
    return this.subject.memory
  }
  get inside() {
    return this.subject.inside!
  }
  get echo() {
    return this.subject.inside!.echo!
  }
  has(feature: number) {
    return (this.features & (1n << BigInt(feature))) !== 0n
  }
  offers(feature: number) {
    return (this.offered() & (1n << BigInt(feature))) !== 0n
  }

  /** The common configuration of a modern PCI function. */
  get common(): Registers<typeof CommonRegisters> {
    const { transport } = this
    if (!(transport instanceof ModernPci)) throw new Error('this transport has no common configuration')
    return transport.registers
  }

  // ---- the way to a running device ----

  status() {
    return run(this.transport.status())
  }
  setStatus(value: number) {
    run(this.transport.setStatus(value))
  }
  reset() {
    run(this.transport.reset())
    this.rings.length = 0
    this.subject.settle()
  }
  offered() {
    return run(this.transport.offered())
  }

  /** Up to FEATURES_OK. Takes all that is offered, the ring format the variant names, and not `without`. */
  negotiate({ without = [] }: Negotiation = {}) {
    this.setStatus(Status.ACKNOWLEDGE)
    this.setStatus(Status.ACKNOWLEDGE | Status.DRIVER)
    const never = [Feature.ACCESS_PLATFORM, Feature.ORDER_PLATFORM, Feature.SR_IOV, Feature.NOTIF_CONFIG_DATA, 30]
    // Before others: completing in order changes what the other rules look like.
    const unusual = [Feature.IN_ORDER, Feature.NOTIFICATION_DATA, Feature.NOTIFY_ON_EMPTY]
    this.features = this.offered()
    for (const bit of [...never, ...without, ...(this.takes ? [] : unusual)]) this.features &= ~(1n << BigInt(bit))
    if (!this.variant.packed) this.features &= ~(1n << BigInt(Feature.RING_PACKED))
    run(this.transport.accept(this.features))
    if (this.legacy) return
    this.setStatus(11)
    same(this.status(), 11, 'the status after FEATURES_OK')
  }
  /** Also take the bits that few drivers know. */
  takes = false

  /** Makes the rings of a queue, without telling the device. */
  ring(index = 0, size = 16): PackedDriverRing<number> | SplitDriverRing<number> {
    const max = run(this.transport.queueSize(index))
    const Ring = this.has(Feature.RING_PACKED) ? PackedDriverRing : SplitDriverRing
    const features: QueueFeatures = {
      indirect: this.has(Feature.INDIRECT_DESC),
      eventIndex: this.has(Feature.EVENT_IDX),
      inOrder: this.has(Feature.IN_ORDER),
      notificationData: this.has(Feature.NOTIFICATION_DATA),
    }
    const length = this.transport.fixedSize ? max : Math.min(size, max)
    const ring = new Ring<number>(this.subject.arena, length, features, this.transport.align)
    this.rings[index] = ring
    return ring
  }
  enable(index = 0, placement: Placement = this.rings[index]!.placement) {
    run(this.transport.enableQueue(index, placement))
  }
  /** All the way to DRIVER_OK, with these queues. */
  start(negotiation: Negotiation = {}, queues: readonly number[] = [0], size?: number) {
    this.negotiate(negotiation)
    for (const index of queues) {
      this.ring(index, size)
      this.enable(index)
    }
    this.driverOk()
  }
  driverOk() {
    this.setStatus(this.status() | Status.DRIVER_OK)
    this.subject.settle()
  }
  kick(index = 0) {
    const position = this.has(Feature.NOTIFICATION_DATA) ? (this.rings[index]?.position ?? 0) : undefined
    run(this.transport.notify(index, position))
    this.subject.settle()
  }
  /** Reads and acknowledges why it interrupts. */
  causes() {
    return run(this.transport.interrupt())
  }
  config(offset: number, size: number) {
    return run(this.transport.readConfig(offset, size))
  }

  // ---- requests ----

  allocate(length: number, align = 16) {
    return this.subject.arena.allocate(length, align)
  }
  /** A buffer with these bytes in it. */
  put(bytes: Uint8Array) {
    const address = this.allocate(bytes.length)
    this.memory.write(address, bytes)
    return { address, length: bytes.length }
  }
  room(length: number) {
    return { address: this.allocate(length), length }
  }
  bytes(address: number, length: number) {
    return this.memory.slice(address, length).slice()
  }

  /** A well-formed request for so many bytes, kicked; how many came back, or undefined. */
  request(length = 8, index = 0): number | undefined {
    this.rings[index]!.add([], [this.room(length)], 0)
    this.kick(index)
    return this.rings[index]!.take()?.length
  }

  /** Writes descriptors 0… of a ring as they are, and makes the chain at `head` available. */
  submit(descriptors: readonly RawDescriptor[], { ring = this.rings[0]!, head = 0, kick = true } = {}) {
    const packed = this.has(Feature.RING_PACKED)
    descriptors.forEach((descriptor, i) => {
      const more = i + 1 < descriptors.length || descriptor.next !== undefined ? NEXT : 0
      const flags = (descriptor.flags ?? 0) | more
      if (packed) {
        const { AVAIL } = PackedDescriptor.fields.flags.bits
        this.describe(ring.placement.desc, i, { ...descriptor, flags: flags | AVAIL, next: undefined }, 0)
      } else this.describe(ring.placement.desc, i, { ...descriptor, flags }, i + 1)
    })
    if (ring instanceof SplitDriverRing) ring.offer(head)
    if (kick) this.kick()
  }
  /** One descriptor, in a ring or in an indirect table: the formats differ in the last two fields only. */
  describe(table: number, index: number, { addr, len, flags = 0, next }: RawDescriptor, following = index + 1) {
    const at = table + index * Descriptor.size
    const { view } = this.memory
    view.setBigUint64(at, BigInt(addr), true)
    view.setUint32(at + 8, len, true)
    if (this.has(Feature.RING_PACKED)) {
      view.setUint16(at + 12, following, true)
      view.setUint16(at + 14, flags, true)
    } else {
      view.setUint16(at + 12, flags, true)
      view.setUint16(at + 14, next ?? following, true)
    }
  }
  /** An indirect table with these descriptors; returns its place. */
  table(descriptors: readonly RawDescriptor[]) {
    const length = descriptors.length * Descriptor.size
    const address = this.allocate(length)
    const chained = !this.has(Feature.RING_PACKED)
    descriptors.forEach((descriptor, i) => {
      const more = chained && (i + 1 < descriptors.length || descriptor.next !== undefined) ? NEXT : 0
      this.describe(address, i, { ...descriptor, flags: (descriptor.flags ?? 0) | more })
    })
    return { address, length }
  }

  /** Requests the device has used since the rings were made, as the rings say. */
  used(index = 0): number {
    const ring = this.rings[index]!
    const { view } = this.memory
    if (ring instanceof SplitDriverRing) return view.getUint16(ring.placement.device + 2, true)
    const { AVAIL, USED } = PackedDescriptor.fields.flags.bits
    let count = 0
    for (let i = 0; i < ring.placement.size; i++)
      if ((view.getUint16(ring.placement.desc + i * 16 + 14, true) & (AVAIL | USED)) === (AVAIL | USED)) count++
    return count
  }
  /** The length in the first used element. */
  usedLength(index = 0): number {
    const ring = this.rings[index]!
    const at = ring instanceof SplitDriverRing ? ring.placement.device + 8 : ring.placement.desc + 8
    return this.memory.view.getUint32(at, true)
  }

  // ---- what the suite demands again and again ----

  /** The device took it for what it is: nothing used, and with the modern interface NEEDS_RESET, told by an interrupt. */
  refused(what: string) {
    same(this.used(), 0, `${what}: used requests`)
    if (!this.legacy) {
      check((this.status() & Status.NEEDS_RESET) !== 0, `${what}: the status ${this.status()} lacks NEEDS_RESET`)
      check((this.causes() & 2) !== 0, `${what}: no configuration interrupt`)
    }
    this.usable(what)
  }
  /** After a reset it works as if nothing had been. */
  usable(what: string, negotiation?: Negotiation) {
    this.reset()
    same(this.status(), 0, `${what}: the status after a reset`)
    this.start(negotiation)
    const written = this.request(8)
    check(
      written === 8 || (this.subject.inside?.echo !== undefined && written === 0),
      `${what}: the device is dead after a reset`,
    )
  }
}
