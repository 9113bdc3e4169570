import { Feature } from '../virtio/core.ts'
import type { Window } from '../virtio/machine.ts'
import { CONFIG, LegacyRegisters, Registers as ModernRegisters } from '../virtio/mmio.ts'
import { LinuxError } from './errno.ts'
import { Registers, readAt, type Steps, writeAt } from './steps.ts'
import { chooseDma, type DmaMask, type Placement, type Transport, untilZero } from './transport.ts'

const MAGIC = 0x74726976
/** What a 32-bit x86 guest calls a page, in bytes; the unit of QueuePFN. */
export const PAGE = 4096
/** What a 32-bit QueuePFN reaches, in bits. */
const RING_BITS = 32 + 12

export interface MmioProbeOptions {
  readonly dma?: DmaMask
  readonly log?: (line: string) => void
}

/**
 * Finds out what is behind a window: Linux's `virtio_mmio_probe`.
 * Fails with ENODEV (no virtio device, or an empty slot) or ENXIO (a version nobody knows).
 */
export function* probeMmio(
  window: Window,
  { dma = () => true, log = () => {} }: MmioProbeOptions = {},
): Steps<MmioTransport> {
  const registers = new Registers(ModernRegisters, 'mmio', window)
  const magic = yield* registers.read('MagicValue')
  if (magic !== MAGIC) throw new LinuxError('ENODEV', `Wrong magic value 0x${magic.toString(16).padStart(8, '0')}!`)
  const version = yield* registers.read('Version')
  if (version !== 1 && version !== 2) throw new LinuxError('ENXIO', `Version ${version} not supported!`)
  const device = yield* registers.read('DeviceID')
  // A placeholder: nothing is wrong, there is just nothing here.
  if (device === 0) throw new LinuxError('ENODEV', 'the slot is empty')
  const vendor = yield* registers.read('VendorID')
  const id = { device, vendor }
  if (version === 1) {
    const legacy = new LegacyMmio(window, id)
    yield* legacy.registers.write('GuestPageSize', PAGE)
    chooseDma(dma, log, RING_BITS)
    return legacy
  }
  chooseDma(dma, log)
  return new ModernMmio(window, id)
}

/** What both versions share. */
abstract class MmioTransport implements Transport {
  abstract readonly name: string
  abstract readonly legacy: boolean
  readonly fixedSize = false
  readonly align = PAGE
  protected readonly common: Registers<typeof ModernRegisters>

  constructor(
    readonly window: Window,
    readonly id: Transport['id'],
  ) {
    this.common = new Registers(ModernRegisters, 'mmio', window)
  }

  *status() {
    return yield* this.common.read('Status')
  }
  *setStatus(value: number) {
    yield* this.common.write('Status', value)
  }
  *reset() {
    yield* this.common.write('Status', 0)
  }
  *offered() {
    yield* this.common.write('DeviceFeaturesSel', 1)
    const high = yield* this.common.read('DeviceFeatures')
    yield* this.common.write('DeviceFeaturesSel', 0)
    const low = yield* this.common.read('DeviceFeatures')
    return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)
  }
  *accept(features: bigint): Steps {
    yield* this.common.write('DriverFeaturesSel', 1)
    yield* this.common.write('DriverFeatures', Number(features >> 32n))
    yield* this.common.write('DriverFeaturesSel', 0)
    yield* this.common.write('DriverFeatures', Number(features & 0xffffffffn))
  }
  *readConfig(offset: number, size: number) {
    return yield* readAt(this.window, 'mmio', 'config', CONFIG + offset, size)
  }
  *writeConfig(offset: number, size: number, value: number) {
    yield* writeAt(this.window, 'mmio', 'config', CONFIG + offset, size, value)
  }
  *notify(index: number, position = 0) {
    yield* this.common.write('QueueNotify', index + position * 2 ** 16)
  }
  *interrupt() {
    const causes = yield* this.common.read('InterruptStatus')
    if (causes !== 0) yield* this.common.write('InterruptACK', causes)
    return causes
  }

  /** How large the selected queue may be, if nobody uses it yet. */
  protected *freeQueue(index: number, busy: number): Steps<number> {
    const max = busy === 0 ? yield* this.common.read('QueueSizeMax') : 0
    if (max === 0) throw new LinuxError('ENOENT', `there is no free queue ${index}`)
    return max
  }
  abstract generation(): Steps<number>
  abstract queueSize(index: number): Steps<number>
  abstract enableQueue(index: number, placement: Placement): Steps
  abstract disableQueue(index: number): Steps
  abstract resetQueue(index: number): Steps
}

export type { MmioTransport }

/** §4.2.2: version 2. */
export class ModernMmio extends MmioTransport {
  readonly name = 'virtio-mmio'
  readonly legacy = false;

  *generation() {
    return yield* this.common.read('ConfigGeneration')
  }
  override *accept(features: bigint): Steps {
    if (!(features & (1n << BigInt(Feature.VERSION_1))))
      throw new LinuxError('EINVAL', 'New virtio-mmio devices (version 2) must provide VIRTIO_F_VERSION_1 feature!')
    yield* super.accept(features)
  }
  *queueSize(index: number): Steps<number> {
    yield* this.common.write('QueueSel', index)
    const ready = yield* this.common.read('QueueReady')
    return yield* this.freeQueue(index, ready)
  }
  *enableQueue(index: number, { size, desc, driver, device }: Placement) {
    const { common } = this
    yield* common.write('QueueSel', index)
    yield* common.write('QueueSize', size)
    yield* common.write('QueueDescLow', desc % 2 ** 32)
    yield* common.write('QueueDescHigh', Math.floor(desc / 2 ** 32))
    yield* common.write('QueueDriverLow', driver % 2 ** 32)
    yield* common.write('QueueDriverHigh', Math.floor(driver / 2 ** 32))
    yield* common.write('QueueDeviceLow', device % 2 ** 32)
    yield* common.write('QueueDeviceHigh', Math.floor(device / 2 ** 32))
    yield* common.write('QueueReady', 1)
  }
  *disableQueue(index: number) {
    yield* this.common.write('QueueSel', index)
    yield* this.common.write('QueueReady', 0)
    // §4.2.2.2: only when it reads 0 is the device done with the rings.
    yield* untilZero(() => this.common.read('QueueReady'))
  }
  *resetQueue(index: number) {
    yield* this.common.write('QueueSel', index)
    yield* this.common.write('QueueReset', 1)
    yield* untilZero(() => this.common.read('QueueReset'))
    yield* untilZero(() => this.common.read('QueueReady'))
  }
}

/** §4.2.4: version 1. */
export class LegacyMmio extends MmioTransport {
  readonly name = 'virtio-mmio'
  readonly legacy = true
  readonly registers: Registers<typeof LegacyRegisters>

  constructor(window: Window, id: Transport['id']) {
    super(window, id)
    this.registers = new Registers(LegacyRegisters, 'mmio', window)
  }
  /** Version 1 has no such register. */
  *generation() {
    return 0
  }
  *queueSize(index: number): Steps<number> {
    yield* this.registers.write('QueueSel', index)
    const page = yield* this.registers.read('QueuePFN')
    return yield* this.freeQueue(index, page)
  }
  *enableQueue(index: number, { size, desc }: Placement) {
    if (desc / PAGE >= 2 ** 32)
      throw new LinuxError(
        'E2BIG',
        'platform bug: legacy virtio-mmio must not be used with RAM above 0x' +
          `${(2 ** (32 + 12 - 30)).toString(16)}GB`,
      )
    yield* this.registers.write('QueueSel', index)
    yield* this.registers.write('QueueSize', size)
    yield* this.registers.write('QueueAlign', PAGE)
    yield* this.registers.write('QueuePFN', desc / PAGE)
  }
  *disableQueue(index: number) {
    yield* this.registers.write('QueueSel', index)
    yield* this.registers.write('QueuePFN', 0)
  }
  *resetQueue(): Steps {
    throw new LinuxError('ENOENT', 'version 1 cannot reset a single queue')
  }
}
