import { type CoreOptions, type Interface, VirtioCore } from './core.ts'
import type { VirtioDevice } from './device.ts'
import { le32, struct, u8 } from './layout.ts'
import type { AddressSpaces, InterruptLine, Window } from './machine.ts'
import { PciFunction } from './pci-config.ts'
import { LegacyWindow } from './pci-legacy.ts'
import { ModernWindow, NOTIFY_MULTIPLIER, Regions } from './pci-modern.ts'
import { type MessageInterrupts, Msix, MsixCapability, NO_VECTOR } from './pci-msix.ts'
import type { Cause } from './probe.ts'
import type { Virtqueue } from './queue.ts'

/** §4.1.4: where a structure lies. */
export const Capability = struct('virtio_pci_cap', '4.1.4', {
  cap_vndr: u8('0x09: vendor-specific'),
  cap_next: u8('the next capability'),
  cap_len: u8('its length with all extras'),
  cfg_type: u8('', { COMMON: 1, NOTIFY: 2, ISR: 3, DEVICE: 4, PCI: 5, SHARED_MEMORY: 8, VENDOR: 9 }),
  bar: u8('the BAR it lies in'),
  id: u8('tells several of a type apart'),
  padding0: u8(),
  padding1: u8(),
  offset: le32('where in the BAR'),
  length: le32('how long, in bytes'),
})
/** §4.1.4.4 */
export const NotifyCapability = struct('virtio_pci_notify_cap', '4.1.4.4', {
  ...Capability.fields,
  notify_off_multiplier: le32('bytes from one queue_notify_off to the next'),
})
/** §4.1.4.9 */
export const PciCfgCapability = struct('virtio_pci_cfg_cap', '4.1.4.9', {
  ...Capability.fields,
  pci_cfg_data: le32('reading or writing it performs the access that bar, offset and length describe'),
})
const { COMMON, NOTIFY, ISR, DEVICE, PCI } = Capability.fields.cfg_type.bits

const LEGACY_BAR = 0
const MSIX_BAR = 1
const MODERN_BAR = 4
/** §4.1.2: transitional device IDs. Any other type is told by its subsystem ID alone. */
const TRANSITIONAL_IDS: Readonly<Record<number, number>> = {
  1: 0x1000,
  2: 0x1001,
  5: 0x1002,
  3: 0x1003,
  8: 0x1004,
  4: 0x1005,
  9: 0x1009,
}
const OTHER_TRANSITIONAL = 0x1010
/** What kind of card it looks like to software that knows no virtio: base class and subclass. */
const CLASSES: Readonly<Record<number, readonly [number, number]>> = {
  1: [0x02, 0x00],
  2: [0x01, 0x00],
  3: [0x07, 0x80],
  8: [0x01, 0x00],
  16: [0x03, 0x80],
  18: [0x09, 0x80],
}

export interface PciOptions extends CoreOptions {
  readonly kind: Interface
  readonly spaces: AddressSpaces
  /** INTA#. */
  readonly line: InterruptLine
  /** Absent: the function has no MSI-X capability. */
  readonly messages?: MessageInterrupts
}

/** virtio over PCI, §4.1: one function whose registers, modern, legacy or both, stand before one VirtioCore. */
export class PciTransport {
  readonly core: VirtioCore
  readonly function: PciFunction
  readonly msix: Msix | undefined
  readonly modern: ModernWindow | undefined
  readonly legacy: LegacyWindow | undefined
  /** ISR status, §4.1.4.5. */
  isr = 0
  /** §4.1.5.1.2: the vector of configuration changes, and of each queue. */
  configVector = NO_VECTOR
  readonly queueVectors: number[]
  private windowAt = 0

  constructor(
    device: VirtioDevice,
    readonly options: PciOptions,
  ) {
    const { kind } = options
    const { id } = device.spec
    this.core = new VirtioCore(device, kind, options, (cause, queue) => this.raise(cause, queue))
    this.queueVectors = this.core.queues.map(() => NO_VECTOR)
    const modern = kind === 'modern'
    this.function = new PciFunction(
      {
        device: modern ? 0x1040 + id : (TRANSITIONAL_IDS[id] ?? OTHER_TRANSITIONAL + id),
        revision: modern ? 1 : 0,
        subsystem: modern ? 0x40 + id : id,
        class: CLASSES[id] ?? [0xff, 0x00],
      },
      options.spaces,
      options.line,
    )
    if (options.messages) {
      this.msix = new Msix(this.core.queues.length + 1, options.messages)
      this.function.addBar(MSIX_BAR, false, this.msix)
    }
    if (kind !== 'modern') {
      this.legacy = new LegacyWindow(this)
      this.function.addBar(LEGACY_BAR, true, this.legacy)
    }
    if (kind !== 'legacy') {
      this.modern = new ModernWindow(this)
      this.function.addBar(MODERN_BAR, false, this.modern)
      this.addCapabilities(device)
    }
    this.addMsix()
    this.trapConfiguration()
    // Requests under way complete into nothing: the memory they were in is the driver's again.
    this.function.unplugged = () => this.core.reset()
  }

  private addCapabilities({ config }: VirtioDevice) {
    const add = (cfg_type: number, region: { start: number }, length: number, layout = Capability, more = {}) =>
      this.function.addCapability(
        layout.bytes({
          cap_vndr: 9,
          cap_len: layout.size,
          cfg_type,
          bar: MODERN_BAR,
          offset: region.start,
          length,
          ...more,
        }),
      )
    this.windowAt = add(PCI, { start: 0 }, 0, PciCfgCapability, { bar: 0 })
    if (config?.length) add(DEVICE, Regions.device, (config.length + 3) & ~3)
    add(ISR, Regions.isr, 1)
    add(NOTIFY, Regions.notify, this.core.queues.length * NOTIFY_MULTIPLIER, NotifyCapability, {
      notify_off_multiplier: NOTIFY_MULTIPLIER,
    })
    add(COMMON, Regions.common, Regions.common.length)
    const { bar, offset, length } = Capability.offset
    this.function.writable(this.windowAt + bar, 1, 0xff)
    this.function.writable(this.windowAt + offset, 4, 0xffffffff)
    this.function.writable(this.windowAt + length, 4, 0xffffffff)
    this.function.writable(this.windowAt + Capability.size, 4, 0xffffffff)
  }

  private addMsix() {
    if (!this.msix) return
    const at = this.function.addCapability(this.msix.capability(MSIX_BAR))
    this.function.writable(at + MsixCapability.offset.control, 2, 0xc000)
    this.msixAt = at
  }
  private msixAt = 0

  /** Two capabilities act when they are touched: the PCI_CFG window (§4.1.4.9) and MSI-X control. */
  private trapConfiguration() {
    const { function: target, msix } = this
    const data = this.windowAt + Capability.size
    const hits = (at: number, offset: number, size: number) => at > 0 && offset < at + 4 && offset + size > at
    target.trap = {
      before: (offset, size) => {
        if (this.windowAt && hits(data, offset, size)) this.access(false)
      },
      after: (offset, size) => {
        if (this.windowAt && hits(data, offset, size)) this.access(true)
        if (msix && hits(this.msixAt, offset, size)) {
          msix.setControl(this.capabilityWord(this.msixAt + 2))
          // PCI 6.8.2: a function that may send messages leaves its pin alone.
          target.interrupt(this.isr !== 0 && !msix.enabled)
        }
      },
    }
  }
  private capabilityWord(at: number) {
    return this.function.space[at]! | (this.function.space[at + 1]! << 8)
  }

  /** §4.1.4.9.1: the access the window describes; one that makes no sense is ignored. */
  private access(write: boolean) {
    const view = new DataView(this.function.space.buffer)
    const window = new PciCfgCapability(view, this.windowAt)
    const { bar, offset, length } = window
    const target: Window | undefined = this.function.bars[bar]?.window
    if (!target || ![1, 2, 4].includes(length) || offset % length !== 0 || offset + length > target.length) return
    if (write) target.write(offset, length, window.pci_cfg_data % 2 ** (8 * length))
    else window.pci_cfg_data = target.read(offset, length)
  }

  // ---- what both interfaces share ----

  setStatus(value: number, legacy: boolean) {
    this.core.setStatus(value, legacy)
    if (value !== 0) return
    this.configVector = NO_VECTOR
    this.queueVectors.fill(NO_VECTOR)
    this.readIsr()
  }

  /** §4.1.4.5.1: reading clears it and takes the interrupt back. */
  readIsr() {
    const value = this.isr
    this.isr = 0
    if (value !== 0) {
      this.core.probe?.interrupt('none', false)
      this.function.interrupt(false)
    }
    return value
  }

  private raise(cause: Cause, queue: Virtqueue | undefined) {
    this.core.probe?.interrupt(cause, true)
    if (this.msix?.enabled) {
      this.msix.raise(cause === 'config' ? this.configVector : this.queueVectors[queue?.index ?? 0]!)
      return
    }
    this.isr |= cause === 'config' ? 2 : 1
    this.function.interrupt(true)
  }

  /** §4.1.5.1.2.1: what is not a vector is mapped to none. */
  vector(value: number) {
    return this.msix?.valid(value) ?? NO_VECTOR
  }
}
