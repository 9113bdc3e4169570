import { type Handlers, ro, rw, wo } from './layout.ts'
import type { Window } from './machine.ts'
import type { PciTransport } from './pci.ts'
import type { WindowKind } from './probe.ts'
import type { Virtqueue } from './queue.ts'
import { RegisterFile } from './register-file.ts'

/** §4.1.4.3: common configuration. */
export const CommonRegisters = {
  device_feature_select: rw(0x00, 'which 32 bits device_feature shows'),
  device_feature: ro(0x04, '32 offered feature bits'),
  driver_feature_select: rw(0x08, 'which 32 bits driver_feature sets'),
  driver_feature: rw(0x0c, '32 accepted feature bits'),
  config_msix_vector: rw(0x10, 'MSI-X vector of configuration changes', 2),
  num_queues: ro(0x12, 'how many queues there are', 2),
  device_status: rw(0x14, 'how far the driver has come; 0 resets', 1),
  config_generation: ro(0x15, 'changes whenever the device configuration may have', 1),
  queue_select: rw(0x16, 'the queue the queue_* registers mean', 2),
  queue_size: rw(0x18, 'largest, then chosen size; 0 if there is no such queue', 2),
  queue_msix_vector: rw(0x1a, 'MSI-X vector of that queue', 2),
  queue_enable: rw(0x1c, '1 once the queue may be used', 2),
  queue_notify_off: ro(0x1e, 'where to notify it, in units of notify_off_multiplier', 2),
  queue_desc_lo: rw(0x20, 'descriptor area, low half of the address'),
  queue_desc_hi: rw(0x24, 'descriptor area, high half'),
  queue_driver_lo: rw(0x28, 'driver area (available ring), low half'),
  queue_driver_hi: rw(0x2c, 'driver area, high half'),
  queue_device_lo: rw(0x30, 'device area (used ring), low half'),
  queue_device_hi: rw(0x34, 'device area, high half'),
  queue_notif_config_data: ro(0x38, 'what to write when notifying, with NOTIF_CONFIG_DATA', 2),
  queue_reset: rw(0x3a, 'write 1 to reset that queue; reads 0 when done', 2),
} as const

/** §4.1.4.5 */
export const IsrRegisters = {
  isr: ro(0x00, 'why the interrupt is up; reading clears it', 1, { USED_BUFFER: 1, CONFIGURATION_CHANGE: 2 }),
} as const

/** Bytes from one queue's notification register to the next: room for NOTIFICATION_DATA (§4.1.4.4.1). */
export const NOTIFY_MULTIPLIER = 4

/** Where the structures lie in the BAR, a page each. */
export const Regions = {
  common: { start: 0x0000, length: 0x3c },
  isr: { start: 0x1000 },
  device: { start: 0x2000 },
  notify: { start: 0x3000 },
} as const
const PAGE = 0x1000
const KINDS: readonly WindowKind[] = ['common', 'isr', 'device', 'notify']

/** The modern interface: one memory BAR with all the structures that the capabilities point to. */
export class ModernWindow implements Window {
  readonly length = 4 * PAGE
  private deviceSelect = 0
  private driverSelect = 0
  private queueSelect = 0
  private readonly common: RegisterFile<typeof CommonRegisters>
  private readonly isr: RegisterFile<typeof IsrRegisters>

  constructor(private readonly transport: PciTransport) {
    this.common = new RegisterFile(CommonRegisters, this.handlers())
    this.isr = new RegisterFile(IsrRegisters, { isr: { read: () => transport.readIsr() } })
  }

  read(offset: number, size: number): number {
    const { core } = this.transport
    const kind = KINDS[offset >>> 12] ?? 'notify'
    const at = offset & (PAGE - 1)
    const value =
      kind === 'common'
        ? this.common.read(at, size)
        : kind === 'isr'
          ? this.isr.read(at, size)
          : kind === 'device'
            ? core.readConfig(at, size)
            : 0
    core.probe?.access(kind, false, at, size, value)
    return value
  }

  write(offset: number, size: number, value: number) {
    const { core } = this.transport
    const kind = KINDS[offset >>> 12] ?? 'notify'
    const at = offset & (PAGE - 1)
    core.probe?.access(kind, true, at, size, value)
    if (kind === 'common') this.common.write(at, size, value)
    else if (kind === 'device') core.writeConfig(at, size, value)
    else if (kind === 'notify') this.notify(at, size, value)
  }

  /** §4.1.5.2: the place says which queue; the value repeats it, with NOTIFICATION_DATA above it. */
  private notify(at: number, size: number, value: number) {
    if (at % NOTIFY_MULTIPLIER !== 0 || size < 2) return
    const index = at / NOTIFY_MULTIPLIER
    this.transport.core.kick(size === 4 ? ((value & 0xffff0000) | index) >>> 0 : index)
  }

  private get queue(): Virtqueue | undefined {
    return this.transport.core.queues[this.queueSelect]
  }
  private setup(change: (queue: Virtqueue) => void) {
    if (this.queue) change(this.queue)
  }

  private handlers(): Handlers<typeof CommonRegisters> {
    const { transport } = this
    const { core } = transport
    const half = (area: 'desc' | 'driver' | 'device', index: 0 | 1) => ({
      read: () => (this.queue ? core.addressHalf(this.queue, area, index) : 0),
      write: (value: number) => this.setup(queue => core.setAddress(queue, area, index, value)),
    })
    return {
      device_feature_select: { read: () => this.deviceSelect, write: value => void (this.deviceSelect = value) },
      device_feature: { read: () => core.offeredWord(this.deviceSelect) },
      driver_feature_select: { read: () => this.driverSelect, write: value => void (this.driverSelect = value) },
      driver_feature: {
        read: () => core.acceptedWord(this.driverSelect),
        write: value => core.accept(this.driverSelect, value),
      },
      config_msix_vector: {
        read: () => transport.configVector,
        write: value => void (transport.configVector = transport.vector(value)),
      },
      num_queues: { read: () => core.queues.length },
      device_status: { read: () => core.status, write: value => this.setStatus(value) },
      config_generation: { read: () => core.generation },
      queue_select: { read: () => this.queueSelect, write: value => void (this.queueSelect = value) },
      queue_size: {
        read: () => this.queue?.size ?? 0,
        write: value => this.setup(queue => core.resize(queue, value)),
      },
      queue_msix_vector: {
        read: () => transport.queueVectors[this.queueSelect] ?? 0xffff,
        write: value => this.setup(queue => void (transport.queueVectors[queue.index] = transport.vector(value))),
      },
      queue_enable: {
        read: () => Number(this.queue?.ready ?? false),
        // §4.1.4.3.2: a driver must not write 0 here; that is what queue_reset is for.
        write: value => this.setup(queue => value === 1 && core.enable(queue)),
      },
      queue_notify_off: { read: () => this.queue?.index ?? 0 },
      queue_desc_lo: half('desc', 0),
      queue_desc_hi: half('desc', 1),
      queue_driver_lo: half('driver', 0),
      queue_driver_hi: half('driver', 1),
      queue_device_lo: half('device', 0),
      queue_device_hi: half('device', 1),
      queue_notif_config_data: { read: () => this.queue?.index ?? 0 },
      queue_reset: {
        read: () => 0, // reads 1 only while the reset is under way, and ours is done at once
        write: value => this.setup(queue => core.resetQueue(queue, value)),
      },
    }
  }

  private setStatus(value: number) {
    this.transport.setStatus(value, false)
    if (value === 0) this.deviceSelect = this.driverSelect = this.queueSelect = 0
  }
}

/** §4.1.4.4: the notification register of every queue looks like this. */
export const NotifyRegisters = {
  queue_notify: wo(0x00, 'the driver has put buffers in this queue'),
} as const
