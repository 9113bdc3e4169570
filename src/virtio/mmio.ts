import { type CoreOptions, VirtioCore } from './core.ts'
import type { VirtioDevice } from './device.ts'
import { type Handlers, ro, rw, wo } from './layout.ts'
import type { InterruptLine, Window } from './machine.ts'
import type { Virtqueue } from './queue.ts'
import { RegisterFile } from './register-file.ts'

/** What both versions have in common, §4.2.2 and §4.2.4. */
const Common = {
  MagicValue: ro(0x000, '"virt", little-endian'),
  Version: ro(0x004, 'device version: 2, or 1 for the legacy interface'),
  DeviceID: ro(0x008, 'virtio device type; 0 is an empty slot'),
  VendorID: ro(0x00c, 'virtio subsystem vendor'),
  DeviceFeatures: ro(0x010, '32 offered feature bits, from DeviceFeaturesSel'),
  DeviceFeaturesSel: wo(0x014, 'which 32 bits DeviceFeatures shows'),
  DriverFeatures: wo(0x020, '32 accepted feature bits, for DriverFeaturesSel'),
  DriverFeaturesSel: wo(0x024, 'which 32 bits DriverFeatures sets'),
  QueueSel: wo(0x030, 'the queue the Queue* registers mean'),
  QueueSizeMax: ro(0x034, 'largest size of that queue; 0 if there is none'),
  QueueSize: wo(0x038, 'size the driver chose'),
  QueueNotify: wo(0x050, 'the driver has put buffers in this queue'),
  InterruptStatus: ro(0x060, 'why the interrupt is up', 4, { USED_BUFFER: 1, CONFIGURATION_CHANGE: 2 }),
  InterruptACK: wo(0x064, 'causes the driver has handled', 4, { USED_BUFFER: 1, CONFIGURATION_CHANGE: 2 }),
  Status: rw(0x070, 'how far the driver has come; 0 resets'),
} as const

/** §4.2.2: version 2. */
export const Registers = {
  ...Common,
  QueueReady: rw(0x044, '1 once the queue may be used'),
  QueueDescLow: wo(0x080, 'descriptor area, low half of the address'),
  QueueDescHigh: wo(0x084, 'descriptor area, high half'),
  QueueDriverLow: wo(0x090, 'driver area (available ring), low half'),
  QueueDriverHigh: wo(0x094, 'driver area, high half'),
  QueueDeviceLow: wo(0x0a0, 'device area (used ring), low half'),
  QueueDeviceHigh: wo(0x0a4, 'device area, high half'),
  SHMSel: wo(0x0ac, 'the shared memory region the SHM* registers mean'),
  SHMLenLow: ro(0x0b0, 'its length; all ones if there is none'),
  SHMLenHigh: ro(0x0b4, 'its length, high half'),
  SHMBaseLow: ro(0x0b8, 'its address; all ones if there is none'),
  SHMBaseHigh: ro(0x0bc, 'its address, high half'),
  QueueReset: rw(0x0c0, 'write 1 to reset that queue; reads 0 when done'),
  ConfigGeneration: ro(0x0fc, 'changes whenever the configuration space may have'),
} as const

/** §4.2.4: version 1, the legacy interface. */
export const LegacyRegisters = {
  ...Common,
  GuestPageSize: wo(0x028, 'unit of QueuePFN, in bytes'),
  QueueAlign: wo(0x03c, 'alignment of the used ring, in bytes'),
  QueuePFN: rw(0x040, 'page of the rings; 0 stops the queue'),
} as const

/** Where the configuration space begins. */
export const CONFIG = 0x100
const MAGIC = 0x74726976
const ABSENT = 0xffffffff
const USED_BUFFER = 1
const CONFIGURATION_CHANGE = 2

export interface MmioOptions extends CoreOptions {
  readonly line: InterruptLine
  /** Version 1. */
  readonly legacy?: boolean
  readonly vendor?: number
}

/** virtio over MMIO, §4.2: a register file in front of a VirtioCore. */
export class MmioTransport implements Window {
  readonly length = 0x200
  readonly core: VirtioCore
  /** InterruptStatus. */
  causes = 0
  private deviceSel = 0
  private driverSel = 0
  private queueSel = 0
  /** Version 1 only. */
  private pageSize = 0
  private aligns: number[] = []
  private readonly registers: RegisterFile<typeof Registers> | RegisterFile<typeof LegacyRegisters>

  constructor(
    device: VirtioDevice,
    private readonly options: MmioOptions,
  ) {
    const kind = options.legacy ? 'legacy' : 'modern'
    this.core = new VirtioCore(device, kind, options, cause =>
      this.raise(cause === 'queue' ? USED_BUFFER : CONFIGURATION_CHANGE),
    )
    this.registers = options.legacy
      ? new RegisterFile(LegacyRegisters, this.legacyHandlers())
      : new RegisterFile(Registers, this.handlers())
  }

  read(offset: number, size: number): number {
    const value = offset < CONFIG ? this.registers.read(offset, size) : this.core.readConfig(offset - CONFIG, size)
    this.core.probe?.access('mmio', false, offset, size, value)
    return value
  }

  write(offset: number, size: number, value: number) {
    this.core.probe?.access('mmio', true, offset, size, value)
    if (offset < CONFIG) this.registers.write(offset, size, value)
    else this.core.writeConfig(offset - CONFIG, size, value)
  }

  private common(): Handlers<typeof Common> {
    const { core } = this
    return {
      MagicValue: { read: () => MAGIC },
      Version: { read: () => (this.options.legacy ? 1 : 2) },
      DeviceID: { read: () => core.device.spec.id },
      VendorID: { read: () => this.options.vendor ?? 0 },
      DeviceFeatures: {
        read: () => core.offeredWord(this.deviceSel),
      },
      DeviceFeaturesSel: { write: value => void (this.deviceSel = value) },
      DriverFeatures: { write: value => core.accept(this.driverSel, value) },
      DriverFeaturesSel: { write: value => void (this.driverSel = value) },
      QueueSel: { write: value => void (this.queueSel = value) },
      QueueSizeMax: { read: () => (this.options.legacy && this.queue?.ready ? 0 : (this.queue?.maxSize ?? 0)) },
      QueueSize: { write: value => this.setup(queue => core.resize(queue, value)) },
      QueueNotify: { write: value => core.kick(value) },
      InterruptStatus: { read: () => this.causes },
      InterruptACK: { write: value => this.acknowledge(value) },
      Status: { read: () => core.status, write: value => this.setStatus(value) },
    }
  }

  private handlers(): Handlers<typeof Registers> {
    const { core } = this
    const absent = { read: () => ABSENT }
    return {
      ...this.common(),
      QueueReady: {
        read: () => Number(this.queue?.ready ?? false),
        write: value => this.setup(queue => (value === 1 ? core.enable(queue) : core.disable(queue))),
      },
      QueueDescLow: this.half('desc', 0),
      QueueDescHigh: this.half('desc', 1),
      QueueDriverLow: this.half('driver', 0),
      QueueDriverHigh: this.half('driver', 1),
      QueueDeviceLow: this.half('device', 0),
      QueueDeviceHigh: this.half('device', 1),
      SHMSel: { write: () => {} },
      SHMLenLow: absent,
      SHMLenHigh: absent,
      SHMBaseLow: absent,
      SHMBaseHigh: absent,
      QueueReset: {
        read: () => 0, // §4.2.2.1: reads 1 only while the reset is under way, and ours is done at once
        write: value => this.setup(queue => core.resetQueue(queue, value)),
      },
      ConfigGeneration: { read: () => core.generation },
    }
  }

  private legacyHandlers(): Handlers<typeof LegacyRegisters> {
    return {
      ...this.common(),
      GuestPageSize: { write: value => void (isPower(value) && (this.pageSize = value)) },
      QueueAlign: { write: value => this.setup(({ index }) => void (isPower(value) && (this.aligns[index] = value))) },
      QueuePFN: {
        read: () => (this.queue && this.pageSize ? this.queue.desc / this.pageSize : 0),
        write: value =>
          this.setup(queue => this.core.place(queue, value * this.pageSize, this.aligns[queue.index] ?? this.pageSize)),
      },
    }
  }

  private get queue(): Virtqueue | undefined {
    return this.core.queues[this.queueSel]
  }
  private setup(change: (queue: Virtqueue) => void) {
    if (this.queue) change(this.queue)
  }
  private half(area: 'desc' | 'driver' | 'device', index: 0 | 1) {
    return { write: (value: number) => this.setup(queue => this.core.setAddress(queue, area, index, value)) }
  }

  private setStatus(value: number) {
    if (value === 0) this.reset()
    else this.core.setStatus(value)
  }

  /** By its driver, or by whoever takes it off its bus: the interrupt line is low then. */
  reset() {
    this.core.reset()
    // Not the page size: Linux sets it once, then resets the device before the first use.
    this.deviceSel = this.driverSel = this.queueSel = 0
    this.aligns = []
    this.acknowledge(this.causes)
  }

  private raise(cause: number) {
    this.causes |= cause
    this.core.probe?.interrupt(cause === USED_BUFFER ? 'queue' : 'config', true)
    this.options.line.set(true)
  }
  private acknowledge(causes: number) {
    if (this.causes === 0) return
    this.causes &= ~causes
    if (this.causes !== 0) return
    this.core.probe?.interrupt('none', false)
    this.options.line.set(false)
  }
}

const isPower = (value: number) => value > 0 && (value & (value - 1)) === 0

/** DeviceID 0, §4.2.2: a slot that is there, with nothing in it. Everything else reads as zero. */
export class EmptySlot implements Window {
  readonly length = 0x200
  private readonly registers = { [Registers.MagicValue.at]: MAGIC, [Registers.Version.at]: 2 }
  read(offset: number, size: number) {
    return size === 4 ? (this.registers[offset] ?? 0) : 0
  }
  write() {}
}
