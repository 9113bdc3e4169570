import type { Driver, VirtioDevice } from './device.ts'
import { GuestError, type GuestMemory } from './machine.ts'
import type { Cause, Probe } from './probe.ts'
import { type RingFeatures, Virtqueue } from './queue.ts'
import { splitSizes } from './split-ring.ts'

/** §2.1 */
export const Status = {
  ACKNOWLEDGE: 1,
  DRIVER: 2,
  DRIVER_OK: 4,
  FEATURES_OK: 8,
  NEEDS_RESET: 64,
  FAILED: 128,
} as const

/** §6, and §6.3 for the legacy ones. */
export const Feature = {
  NOTIFY_ON_EMPTY: 24,
  ANY_LAYOUT: 27,
  INDIRECT_DESC: 28,
  EVENT_IDX: 29,
  VERSION_1: 32,
  ACCESS_PLATFORM: 33,
  RING_PACKED: 34,
  IN_ORDER: 35,
  ORDER_PLATFORM: 36,
  SR_IOV: 37,
  NOTIFICATION_DATA: 38,
  NOTIF_CONFIG_DATA: 39,
  RING_RESET: 40,
} as const

const LEGACY = [Feature.NOTIFY_ON_EMPTY, Feature.ANY_LAYOUT]
const BOTH = [Feature.INDIRECT_DESC, Feature.EVENT_IDX]
const MODERN = [Feature.VERSION_1, Feature.RING_PACKED, Feature.IN_ORDER, Feature.NOTIFICATION_DATA, Feature.RING_RESET]

/** Which driver interfaces a transport has: §2.2.3. */
export type Interface = 'modern' | 'transitional' | 'legacy'

export interface CoreOptions {
  readonly memory: GuestMemory
  /** Feature bits not to offer. */
  readonly mask?: readonly number[]
  /** Told of errors that are ours, not the guest's. Without it they are thrown. */
  readonly onBug?: (error: unknown) => void
}

const bit = (feature: number) => 1n << BigInt(feature)
const bits = (features: Iterable<number>) => [...features].reduce((all, feature) => all | bit(feature), 0n)
const word = (features: bigint, index: number) =>
  index === 0 || index === 1 ? Number((features >> BigInt(32 * index)) & 0xffffffffn) : 0
const LEGACY_BITS = bits(LEGACY)

/** The half of a device that no transport and no device type can change: chapters 2 and 3 of the specification. */
export class VirtioCore implements Driver {
  status = 0
  /** All bits offered through the modern interface; the legacy one shows the low 32. */
  readonly offered: bigint
  /** Bits the driver wrote. */
  accepts = 0n
  /** §2.5.2: changes whenever the driver could otherwise see a mix of old and new configuration. */
  generation = 0
  /** The driver came through a legacy interface. */
  legacy: boolean
  /** The device has its queues. */
  started = false
  readonly queues: readonly Virtqueue[]
  readonly memory: GuestMemory
  private watcher: Probe | undefined
  private notificationData = false
  private configRead = false
  private readonly writable: readonly boolean[]

  constructor(
    readonly device: VirtioDevice,
    readonly kind: Interface,
    private readonly options: CoreOptions,
    private readonly raise: (cause: Cause, queue?: Virtqueue) => void,
  ) {
    this.memory = options.memory
    this.legacy = kind === 'legacy'
    this.offered = offer(device, kind, options.mask ?? [])
    const names = device.queues ?? device.spec.queues
    this.queues = names.map((name, index) => new Virtqueue(index, name, device.queueSize ?? 256, this))
    this.writable = writableBytes(device)
    device.configChanged = () => this.configChanged()
  }

  get probe() {
    return this.watcher
  }
  set probe(probe: Probe | undefined) {
    this.watcher = probe
    for (const queue of this.queues) queue.probe = probe
  }

  // ---- feature negotiation, §2.2 ----

  /** What a driver is offered: a legacy one the low 32 bits, a modern one none of §6.3's. */
  private offeredTo(legacy: boolean) {
    return legacy ? this.offered & 0xffffffffn : this.offered & ~LEGACY_BITS
  }
  /** 32 of the offered bits; nothing above bit 63. */
  offeredWord(index: number, legacy = this.kind === 'legacy') {
    return word(this.offeredTo(legacy), index)
  }
  acceptedWord(index: number) {
    return word(this.accepts, index)
  }
  accept(index: number, value: number) {
    // Nothing may change once it is settled: FEATURES_OK, or for a legacy driver its first use of the device.
    if (this.status & Status.FEATURES_OK || this.started || (index !== 0 && index !== 1)) return
    const shift = BigInt(32 * index)
    this.accepts = (this.accepts & ~(0xffffffffn << shift)) | (BigInt(value >>> 0) << shift)
  }
  accepted(feature: number) {
    return (this.accepts & this.offeredTo(this.legacy) & bit(feature)) !== 0n
  }

  private get acceptable() {
    if (this.accepts & ~this.offeredTo(false)) return false
    if (!this.accepted(Feature.VERSION_1)) return false
    return (this.device.spec.needs ?? []).every(
      ([feature, ...any]) => !this.accepted(feature) || any.some(need => this.accepted(need)),
    )
  }

  get ringFeatures(): RingFeatures {
    return {
      packed: this.accepted(Feature.RING_PACKED),
      indirect: this.accepted(Feature.INDIRECT_DESC),
      eventIndex: this.accepted(Feature.EVENT_IDX),
      inOrder: this.accepted(Feature.IN_ORDER),
      notifyOnEmpty: this.legacy && this.accepted(Feature.NOTIFY_ON_EMPTY),
    }
  }

  // ---- device status, §2.1 ----

  /** The driver wrote the status through its legacy or its modern interface. */
  setStatus(value: number, legacy = this.kind === 'legacy') {
    if (value === 0) return this.reset()
    const before = this.status
    const after = legacy ? before | (value & 0x87) : this.allowed(value)
    if (before === 0) this.legacy = legacy
    this.probe?.status(before, after)
    this.status = after
    if (after & ~before & Status.DRIVER_OK) this.start()
  }

  /** What a write makes of the status: bits are only ever added, each on top of those before it. */
  private allowed(value: number) {
    const kept = this.status & Status.NEEDS_RESET
    if (this.status & ~value & ~Status.NEEDS_RESET) return this.status
    let after = kept | (value & (Status.FAILED | Status.ACKNOWLEDGE))
    if (after & Status.ACKNOWLEDGE) after |= value & Status.DRIVER
    if (after & Status.DRIVER && value & Status.FEATURES_OK)
      if (this.status & Status.FEATURES_OK || this.acceptable) after |= Status.FEATURES_OK
    if (after & Status.FEATURES_OK) after |= value & Status.DRIVER_OK
    return after
  }

  /** Whether the rings may be touched: the driver said DRIVER_OK, or is a legacy one, which may use them before. */
  get running() {
    if (this.status & (Status.NEEDS_RESET | Status.FAILED)) return false
    return (this.status & Status.DRIVER_OK) !== 0 || this.legacy
  }

  private start() {
    if (this.started || !this.running) return
    this.started = true
    this.notificationData = this.accepted(Feature.NOTIFICATION_DATA)
    this.guard(() => {
      for (const queue of this.queues) if (queue.ready) this.startQueue(queue)
      this.device.activate?.(this)
    })
  }

  reset() {
    this.probe?.status(this.status, 0)
    for (const queue of this.queues) queue.reset()
    this.status = 0
    this.accepts = 0n
    this.notificationData = false
    this.started = false
    this.legacy = this.kind === 'legacy'
    this.device.reset?.()
  }

  // ---- queues, §2.6 ----

  /** Makes a queue ready; refuses one whose rings are misaligned, overlapping or not all in RAM. */
  enable(queue: Virtqueue) {
    if (queue.ready) return
    if (!this.fits(queue)) {
      this.probe?.fault(misplaced(queue))
      return
    }
    queue.ready = true
    if (this.started && this.running) this.startQueue(queue)
  }

  /** Whether its rings are where and what they must be. */
  private fits(queue: Virtqueue) {
    const features = this.ringFeatures
    const areas = queue.areas(features)
    return (
      (features.packed || isPower(queue.size)) &&
      areas.every(
        ({ start, end, align }, i) =>
          start % align === 0 &&
          this.memory.has(start, end - start) &&
          areas.every((other, j) => i === j || end <= other.start || start >= other.end),
      )
    )
  }

  private startQueue(queue: Virtqueue) {
    // Negotiation may have gone on since it was enabled, and with it the shape of the rings.
    if (!this.fits(queue)) throw misplaced(queue)
    queue.start(this.ringFeatures)
  }

  disable(queue: Virtqueue) {
    queue.ready = false
    queue.stop()
  }

  /** The driver chose a size; one that cannot be is ignored. §2.7: a power of two, unless packed. */
  resize(queue: Virtqueue, size: number) {
    if (queue.ready || size < 1 || size > queue.maxSize) return
    if (!isPower(size) && !this.accepted(Feature.RING_PACKED)) return
    queue.size = size
  }

  /** One 32-bit half of an area's address; a queue in use keeps what it has. */
  setAddress(queue: Virtqueue, area: 'desc' | 'driver' | 'device', half: 0 | 1, value: number) {
    if (queue.ready) return
    const low = half === 0 ? value >>> 0 : queue[area] % 2 ** 32
    const high = half === 1 ? value >>> 0 : Math.floor(queue[area] / 2 ** 32)
    queue[area] = high * 2 ** 32 + low
  }
  addressHalf(queue: Virtqueue, area: 'desc' | 'driver' | 'device', half: 0 | 1) {
    return half === 0 ? queue[area] % 2 ** 32 : Math.floor(queue[area] / 2 ** 32)
  }

  /** §2.7.2, legacy: one address says where all three areas lie; 0 stops the queue. */
  place(queue: Virtqueue, address: number, align: number) {
    this.disable(queue)
    queue.desc = address
    if (address === 0 || align === 0) return
    const sizes = splitSizes(queue.size, true)
    queue.driver = address + sizes.desc
    queue.device = Math.ceil((queue.driver + sizes.driver) / align) * align
    this.enable(queue)
  }

  /** §2.6.1: this queue alone goes back to where it was before it was set up. */
  resetQueue(queue: Virtqueue, value: number) {
    if (value === 1 && this.accepted(Feature.RING_RESET)) queue.reset()
  }

  /** An available-buffer notification, §2.3. With NOTIFICATION_DATA the index is in the low half (§4.1.5.2). */
  kick(notification: number) {
    const index = this.notificationData ? notification & 0xffff : notification
    const queue = this.queues[index]
    if (!queue?.ready || !this.running) return
    this.probe?.kick(index)
    this.start()
    queue.process(this.serve)
  }
  private readonly serve = (queue: Virtqueue) => this.device.kick(queue)

  // ---- configuration space, §2.5 ----

  /** `size` bytes, little-endian; what lies past the end reads as zero. */
  readConfig(offset: number, size: number): number {
    const { config } = this.device
    let value = 0
    for (let i = size; i--; ) value = value * 256 + (config?.[offset + i] ?? 0)
    this.configRead = true
    return value
  }

  writeConfig(offset: number, size: number, value: number) {
    const { config } = this.device
    let length = 0
    for (let i = 0; config && i < size; i++) {
      if (!this.writable[offset + i]) continue
      config[offset + i] = value >>> (8 * i)
      length = i + 1
    }
    if (length > 0) this.guard(() => this.device.configWritten?.(offset, length))
  }

  configChanged() {
    if (this.configRead) this.generation = (this.generation + 1) & 0xff
    this.configRead = false
    if (this.status & Status.DRIVER_OK) this.raise('config')
  }

  // ---- what goes wrong ----

  /** The queue asks for an interrupt. */
  used(queue: Virtqueue) {
    this.raise('queue', queue)
  }

  /** A guest's mistake stops this device, not the machine; our own mistakes stay loud. */
  guard<T = undefined>(work: (on: T) => unknown, on?: T): void
  guard<T>(work: (on: T) => unknown, on: T) {
    try {
      const result = work(on)
      if (result instanceof Promise) result.catch(this.failed)
    } catch (error) {
      this.failed(error)
    }
  }

  private readonly failed = (error: unknown) => {
    if (error instanceof GuestError) {
      this.probe?.fault(error)
      this.needsReset()
    } else if (this.options.onBug) {
      this.needsReset()
      this.options.onBug(error)
    } else throw error
  }

  /** §2.1.2: until the driver resets it, the device does nothing. */
  private needsReset() {
    for (const queue of this.queues) queue.stop()
    const before = this.status
    this.status |= Status.NEEDS_RESET
    this.probe?.status(before, this.status)
    if (before & Status.DRIVER_OK) this.raise('config')
  }
}

const isPower = (size: number) => (size & (size - 1)) === 0
const misplaced = ({ index }: Virtqueue) =>
  new GuestError('2.6', `the rings of queue ${index} are misaligned, overlap or are not in RAM`)

/** The bits an instance offers, without masked ones and without bits that need a masked one (§2.2.2). */
function offer(device: VirtioDevice, kind: Interface, mask: readonly number[]) {
  const common = [...BOTH, ...(kind === 'legacy' ? [] : MODERN), ...(kind === 'modern' ? [] : LEGACY)]
  const offered = new Set([...common, ...device.offers])
  // VERSION_1 is not the user's to take away: a modern device without it is none (§6.2).
  for (const feature of mask) if (feature !== Feature.VERSION_1) offered.delete(feature)
  for (let before = -1; before !== offered.size; ) {
    before = offered.size
    for (const [feature, ...any] of device.spec.needs ?? [])
      if (!any.some(need => offered.has(need))) offered.delete(feature)
  }
  return bits(offered)
}

function writableBytes({ spec }: VirtioDevice) {
  const fields = Object.values(spec.config?.fields ?? {}) as readonly { size: number; writable?: boolean }[]
  return fields.flatMap(field => Array<boolean>(field.size).fill(field.writable ?? false))
}
