import { Feature } from '../virtio/core.ts'
import type { Window } from '../virtio/machine.ts'
import { Capability, NotifyCapability } from '../virtio/pci.ts'
import { CommonRegisters, IsrRegisters } from '../virtio/pci-modern.ts'
import { LinuxError } from './errno.ts'
import type { PciProbeOptions } from './pci.ts'
import type { PciDevice } from './pci-device.ts'
import { part, Registers, readAt, type Steps, writeAt } from './steps.ts'
import { chooseDma, type Placement, type Transport, untilZero } from './transport.ts'

const { COMMON, NOTIFY, ISR, DEVICE } = Capability.fields.cfg_type.bits
const VENDOR_SPECIFIC = 9
/** What Linux aligns the rings of a modern function to, in bytes: a cache line. */
const ALIGN = 64

interface Structure {
  readonly window: Window
  /** Offset of its capability in configuration space. */
  readonly at: number
}

/** Linux's `virtio_pci_modern_probe`. Fails with ENODEV (leaving for the legacy driver) or EINVAL (a part is missing). */
export function* probeModernPci(
  pci: PciDevice,
  { dma = () => true, log = () => {} }: PciProbeOptions = {},
): Steps<ModernPci> {
  const pciId = yield* pci.get('device')
  if (pciId < 0x1000 || pciId > 0x107f) throw new LinuxError('ENODEV', 'not a virtio function')
  // A transitional function tells its type as it always did, by its subsystem.
  const device = pciId < 0x1040 ? yield* pci.get('subsystem_device') : pciId - 0x1040
  const vendor = yield* pci.get('subsystem_vendor')
  const common = yield* find(pci, COMMON, 4)
  if (!common) throw new LinuxError('ENODEV', 'leaving for legacy driver')
  const isr = yield* find(pci, ISR, 1)
  const notify = yield* find(pci, NOTIFY, 2)
  if (!isr || !notify)
    throw new LinuxError('EINVAL', `missing capabilities ${common.at}/${isr?.at ?? 0}/${notify?.at ?? 0}`)
  chooseDma(dma, log)
  if (common.window.length < CommonRegisters.queue_device_hi.at + 4)
    throw new LinuxError('EINVAL', `the common configuration is only ${common.window.length} bytes long`)
  const config = yield* find(pci, DEVICE, 4)
  const multiplier = yield* pci.read(notify.at + NotifyCapability.offset.notify_off_multiplier, 4)
  return new ModernPci({ device, vendor }, common.window, notify.window, multiplier, isr.window, config?.window)
}

/** The first structure of a type that lies in a BAR there is. */
function* find(pci: PciDevice, type: number, align: number): Steps<Structure | undefined> {
  for (const at of yield* pci.capabilities(VENDOR_SPECIFIC)) {
    if ((yield* pci.read(at + Capability.offset.cfg_type, 1)) !== type) continue
    const bar = yield* pci.read(at + Capability.offset.bar, 1)
    // Values above 5 are reserved: ignore what they say.
    const region = bar <= 5 ? yield* pci.bar(bar) : undefined
    if (!region) continue
    const offset = yield* pci.read(at + Capability.offset.offset, 4)
    const length = yield* pci.read(at + Capability.offset.length, 4)
    if (offset % align !== 0)
      throw new LinuxError('EINVAL', `a structure at ${offset} is not aligned to ${align} bytes`)
    if (offset + length > region.length)
      throw new LinuxError('EINVAL', `a structure of ${length} bytes at ${offset} is not inside BAR ${bar}`)
    return { at, window: part(pci.map(region), offset, length) }
  }
  return undefined
}

/** §4.1.4: the modern interface. */
export class ModernPci implements Transport {
  readonly name = 'virtio-pci'
  readonly legacy = false
  readonly fixedSize = false
  readonly align = ALIGN
  readonly registers: Registers<typeof CommonRegisters>
  readonly isr: Registers<typeof IsrRegisters>
  private readonly notifyOffsets: number[] = []

  constructor(
    readonly id: Transport['id'],
    common: Window,
    private readonly notifications: Window,
    private readonly multiplier: number,
    isr: Window,
    private readonly config: Window | undefined,
  ) {
    this.registers = new Registers(CommonRegisters, 'common', common)
    this.isr = new Registers(IsrRegisters, 'isr', isr)
  }

  *status() {
    return yield* this.registers.read('device_status')
  }
  *setStatus(value: number) {
    yield* this.registers.write('device_status', value)
  }
  *reset() {
    yield* this.registers.write('device_status', 0)
    // §4.1.4.3.2: it is done when it reads 0.
    yield* untilZero(() => this.registers.read('device_status'))
  }
  *offered() {
    yield* this.registers.write('device_feature_select', 0)
    const low = yield* this.registers.read('device_feature')
    yield* this.registers.write('device_feature_select', 1)
    const high = yield* this.registers.read('device_feature')
    return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)
  }
  *accept(features: bigint) {
    if (!(features & (1n << BigInt(Feature.VERSION_1))))
      throw new LinuxError('EINVAL', 'device uses modern interface but does not have VIRTIO_F_VERSION_1')
    yield* this.registers.write('driver_feature_select', 0)
    yield* this.registers.write('driver_feature', Number(features & 0xffffffffn))
    yield* this.registers.write('driver_feature_select', 1)
    yield* this.registers.write('driver_feature', Number(features >> 32n))
  }
  *generation() {
    return yield* this.registers.read('config_generation')
  }
  *readConfig(offset: number, size: number) {
    return yield* readAt(this.deviceConfig, 'device', 'config', offset, size)
  }
  *writeConfig(offset: number, size: number, value: number) {
    yield* writeAt(this.deviceConfig, 'device', 'config', offset, size, value)
  }
  *queueSize(index: number) {
    if (index >= (yield* this.registers.read('num_queues')))
      throw new LinuxError('EINVAL', `there is no queue ${index}`)
    yield* this.registers.write('queue_select', index)
    const size = yield* this.registers.read('queue_size')
    if (size === 0 || (yield* this.registers.read('queue_enable')) !== 0)
      throw new LinuxError('ENOENT', `there is no free queue ${index}`)
    return size
  }
  *enableQueue(index: number, { size, desc, driver, device }: Placement) {
    const { registers } = this
    yield* registers.write('queue_select', index)
    yield* registers.write('queue_size', size)
    yield* registers.write('queue_desc_lo', desc % 2 ** 32)
    yield* registers.write('queue_desc_hi', Math.floor(desc / 2 ** 32))
    yield* registers.write('queue_driver_lo', driver % 2 ** 32)
    yield* registers.write('queue_driver_hi', Math.floor(driver / 2 ** 32))
    yield* registers.write('queue_device_lo', device % 2 ** 32)
    yield* registers.write('queue_device_hi', Math.floor(device / 2 ** 32))
    this.notifyOffsets[index] = (yield* registers.read('queue_notify_off')) * this.multiplier
    yield* registers.write('queue_enable', 1)
  }
  /** §4.1.4.3.2 forbids writing 0 to queue_enable: without RING_RESET only a reset of the device frees a queue. */
  *disableQueue() {}
  *resetQueue(index: number) {
    yield* this.registers.write('queue_select', index)
    yield* this.registers.write('queue_reset', 1)
    yield* untilZero(() => this.registers.read('queue_reset'))
    yield* untilZero(() => this.registers.read('queue_enable'))
  }
  *notify(index: number, position?: number) {
    const size = position === undefined ? 2 : 4
    const value = index + (position ?? 0) * 2 ** 16
    yield* writeAt(this.notifications, 'notify', 'queue_notify', this.notifyOffsets[index] ?? 0, size, value)
  }
  *interrupt() {
    return yield* this.isr.read('isr')
  }

  private get deviceConfig() {
    if (!this.config) throw new LinuxError('EINVAL', 'this device has no configuration space')
    return this.config
  }
}
