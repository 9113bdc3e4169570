import { Feature, Status } from '../virtio/core.ts'
import type { Arena } from './arena.ts'
import { LinuxError } from './errno.ts'
import { PackedDriverRing } from './packed-queue.ts'
import type { DriverProbe } from './probe.ts'
import { DriverQueue, type QueueFeatures, type QueueUser } from './queue.ts'
import { SplitDriverRing } from './split-queue.ts'
import type { Steps } from './steps.ts'
import { InterruptCause, type Transport } from './transport.ts'

/** In an id table: any device, or any vendor. */
export const ANY = 0xffffffff

export interface DeviceId {
  readonly device: number
  readonly vendor: number
}

/** Linux's `struct virtio_driver`. Its methods fail with `LinuxError`. */
export interface VirtioDriver {
  readonly name: string
  readonly ids: readonly DeviceId[]
  /** Bits it knows, beside those of the transport and the rings. */
  readonly features: readonly number[]
  /** The same for a device without VERSION_1, if they differ. */
  readonly legacyFeatures?: readonly number[]
  /** Looks at what was negotiated before it is final; may take features away. */
  validate?(device: BusDevice): Steps
  probe(device: BusDevice): Steps
  /** The device has been reset; its queues can still be asked for what it never used. */
  remove?(device: BusDevice): Steps
  configChanged?(device: BusDevice): Steps
}

/** Bits that belong to the rings and the transport: kept whatever the driver's table says (§6). */
const TRANSPORT_FEATURES: readonly number[] = [
  Feature.INDIRECT_DESC,
  Feature.EVENT_IDX,
  Feature.VERSION_1,
  Feature.RING_PACKED,
  Feature.IN_ORDER,
  Feature.NOTIFICATION_DATA,
  Feature.RING_RESET,
]
const mask = (features: readonly number[]) => features.reduce((all, feature) => all | (1n << BigInt(feature)), 0n)
const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0').toUpperCase()

/** A device on the virtio bus: Linux's `struct virtio_device`. */
export class BusDevice implements QueueUser {
  /** Negotiated. */
  features = 0n
  driver: VirtioDriver | undefined
  queues: DriverQueue[] = []
  private configEnabled = false
  private configPending = false

  constructor(
    readonly index: number,
    readonly transport: Transport,
    readonly arena: Arena,
    private readonly observer: { readonly probe: DriverProbe | undefined },
    /** Feature bits the kernel is not to take, though it could. */
    private readonly refuse: readonly number[] = [],
  ) {}

  get name() {
    return `virtio${this.index}`
  }
  get probe() {
    return this.observer.probe
  }
  has(feature: number) {
    return (this.features & (1n << BigInt(feature))) !== 0n
  }

  /** Whether an id table has this device. */
  matches(ids: readonly DeviceId[]) {
    const { device, vendor } = this.transport.id
    return ids.some(id => (id.device === device || id.device === ANY) && (id.vendor === vendor || id.vendor === ANY))
  }

  /** What udev is told, and loads a module by. */
  get modalias() {
    const { device, vendor } = this.transport.id
    return `virtio:d${hex(device, 8)}v${hex(vendor, 8)}`
  }
  get uevent() {
    return `MODALIAS=${this.modalias}`
  }

  /** The files in /sys/bus/virtio/devices/virtioN, with their line ends. */
  *attributes(): Steps<Record<'device' | 'vendor' | 'status' | 'modalias' | 'features', string>> {
    const { device, vendor } = this.transport.id
    const short = (value: number) => `0x${value.toString(16).padStart(4, '0')}\n`
    const status = yield* this.transport.status()
    let features = ''
    for (let bit = 0; bit < 64; bit++) features += this.has(bit) ? '1' : '0'
    return {
      device: short(device),
      vendor: short(vendor),
      status: `0x${status.toString(16).padStart(8, '0')}\n`,
      modalias: `${this.modalias}\n`,
      features: `${features}\n`,
    }
  }

  // ---- status ----;

  *addStatus(bits: number): Steps {
    this.probe?.status(this.index, bits)
    yield* this.transport.setStatus((yield* this.transport.status()) | bits)
  }

  /** `virtio_dev_probe`: gives the device to a driver that matches. Leaves FAILED if that goes wrong. */
  *bind(driver: VirtioDriver): Steps {
    yield* this.addStatus(Status.DRIVER)
    try {
      this.driver = driver
      const offered = yield* this.transport.offered()
      const modern = (offered & mask([Feature.VERSION_1])) !== 0n
      const known = mask(modern ? driver.features : (driver.legacyFeatures ?? driver.features))
      this.features = offered & (known | mask(TRANSPORT_FEATURES)) & ~mask(this.refuse)
      yield* this.transport.accept(this.features)
      if (driver.validate) {
        const before = this.features
        yield* driver.validate(this)
        if (this.features !== before) yield* this.transport.accept(this.features)
      }
      this.probe?.negotiate(this.index, offered, this.features)
      yield* this.featuresOk()
      yield* driver.probe(this)
      if (!((yield* this.transport.status()) & Status.DRIVER_OK)) yield* this.ready()
      yield* this.enableConfig()
    } catch (error) {
      this.driver = undefined
      yield* this.addStatus(Status.FAILED)
      this.deleteQueues()
      throw error
    }
  }

  private *featuresOk(): Steps {
    if (!this.has(Feature.VERSION_1)) return
    yield* this.addStatus(Status.FEATURES_OK)
    const status = yield* this.transport.status()
    if (!(status & Status.FEATURES_OK))
      throw new LinuxError('ENODEV', `virtio: device refuses features: ${status.toString(16)}`)
  }

  /** `virtio_device_ready`: from here on the device may use its queues. */
  *ready(): Steps {
    yield* this.addStatus(Status.DRIVER_OK)
  }

  *reset(): Steps {
    this.probe?.status(this.index, 0)
    yield* this.transport.reset()
  }

  /** `virtio_dev_remove` */
  *unbind(): Steps {
    const { driver } = this
    if (!driver) return
    this.configEnabled = false
    // Linux leaves this to the driver's remove, and warns of one that forgets it.
    yield* this.reset()
    yield* driver.remove?.(this) ?? none()
    this.deleteQueues()
    this.driver = undefined
    yield* this.addStatus(Status.ACKNOWLEDGE)
  }

  // ---- queues ----

  get queueFeatures(): QueueFeatures {
    return {
      indirect: this.has(Feature.INDIRECT_DESC),
      eventIndex: this.has(Feature.EVENT_IDX),
      inOrder: this.has(Feature.IN_ORDER),
      notificationData: this.has(Feature.NOTIFICATION_DATA),
    }
  }

  /** Sets up a queue, no larger than `limit` descriptors. Fails with ENOENT if there is none. */
  *findQueue<T>(index: number, limit = 256): Steps<DriverQueue<T>> {
    const max = yield* this.transport.queueSize(index)
    const size = this.transport.fixedSize ? max : Math.min(max, limit)
    const Ring = this.has(Feature.RING_PACKED) ? PackedDriverRing : SplitDriverRing
    const ring = new Ring<T>(this.arena, size, this.queueFeatures, this.transport.align)
    yield* this.transport.enableQueue(index, ring.placement)
    const queue = new DriverQueue<T>(index, ring, this.transport, this.queueFeatures, this)
    this.queues[index] = queue as DriverQueue
    return queue
  }

  private deleteQueues() {
    for (const queue of this.queues) queue?.ring.release()
    this.queues = []
  }

  /** §2.6.1: takes a queue away and sets it up anew. What was in it is lost to the device. */
  *resetQueue<T>(index: number, limit?: number): Steps<DriverQueue<T>> {
    yield* this.transport.resetQueue(index)
    this.queues[index]?.ring.release()
    return yield* this.findQueue<T>(index, limit)
  }

  // ---- interrupts ----;

  /** The interrupt handler: acknowledges, and calls whom it concerns. Returns whether it was this device. */
  *interrupt(): Steps<boolean> {
    const causes = yield* this.transport.interrupt()
    this.probe?.interrupt(this.index, causes)
    if (causes & InterruptCause.CONFIGURATION_CHANGE) yield* this.configChanged()
    if (causes & InterruptCause.USED_BUFFER) for (const queue of this.queues) yield* queue?.callback?.(queue) ?? none()
    return causes !== 0
  }

  private *configChanged(): Steps {
    if (!this.configEnabled) this.configPending = true
    else if (this.driver?.configChanged) yield* this.driver.configChanged(this)
  }
  /** `virtio_config_enable`: what changed while the driver was starting is told now. */
  private *enableConfig(): Steps {
    this.configEnabled = true
    if (this.configPending) yield* this.configChanged()
    this.configPending = false
  }

  /** §2.5.1: a field wider than an access, read again until no change came in between. */
  *readConfig(offset: number, length: number): Steps<Uint8Array> {
    const bytes = new Uint8Array(length)
    for (;;) {
      const before = yield* this.transport.generation()
      for (let i = 0; i < length; i++) bytes[i] = yield* this.transport.readConfig(offset + i, 1)
      if (before === (yield* this.transport.generation())) return bytes
    }
  }
}

function* none(): Steps {}

/** The virtio bus as Linux has it: devices and drivers, whichever comes first. */
export class VirtioBus {
  readonly devices: BusDevice[] = []
  readonly drivers: VirtioDriver[] = []
  /** What failed, as the kernel's log would have it. */
  readonly log: string[] = []
  probe: DriverProbe | undefined

  constructor(private readonly arena: Arena) {}

  /** `register_virtio_device`: resets it, acknowledges it, and looks for a driver. */
  *addDevice(transport: Transport, refuse?: readonly number[]): Steps<BusDevice> {
    const device = new BusDevice(this.freeIndex(), transport, this.arena, this, refuse)
    // In case a driver before us left a mess.
    yield* device.reset()
    yield* device.addStatus(Status.ACKNOWLEDGE)
    this.devices.push(device)
    for (const driver of this.drivers) if (yield* this.match(device, driver)) break
    return device
  }

  /** The lowest that no device has: what was removed leaves its name to the next. */
  private freeIndex() {
    for (let index = 0; ; index++) if (!this.devices.some(device => device.index === index)) return index
  }

  *removeDevice(device: BusDevice): Steps {
    yield* device.unbind()
    this.devices.splice(this.devices.indexOf(device), 1)
  }

  *addDriver(driver: VirtioDriver): Steps {
    this.drivers.push(driver)
    for (const device of this.devices) yield* this.match(device, driver)
  }

  *removeDriver(driver: VirtioDriver): Steps {
    for (const device of this.devices) if (device.driver === driver) yield* device.unbind()
    this.drivers.splice(this.drivers.indexOf(driver), 1)
  }

  /** Binds them if they fit; a driver that fails leaves the device to nobody. */
  private *match(device: BusDevice, driver: VirtioDriver): Steps<boolean> {
    if (device.driver) return false
    const fits = device.matches(driver.ids)
    this.probe?.match(device.index, driver.name, fits)
    if (!fits) return false
    try {
      yield* device.bind(driver)
      return true
    } catch (error) {
      if (!(error instanceof LinuxError)) throw error
      this.probe?.failed(device.index, driver.name, error.number)
      // Linux finds these two ordinary: nothing is broken, the driver just does not want the device.
      const rejects = error.code === 'ENODEV' || error.code === 'ENXIO'
      const what = rejects ? `rejects match ${error.number}` : `failed with error ${error.number}`
      this.log.push(`${driver.name}: probe of ${device.name} ${what}: ${error.message}`)
      return false
    }
  }
}
