import { bytes, le16, le32, struct, u8 } from './layout.ts'
import type { AddressSpaces, InterruptLine, Window } from './machine.ts'

/** Type 0 header: PCI Local Bus Specification 3.0, §6.1. */
export const Header = struct('pci_config', 'PCI 6.1', {
  vendor: le16('0x1af4'),
  device: le16('0x1040 plus the device type; below that, transitional or legacy'),
  command: le16('', { IO: 1, MEMORY: 2, MASTER: 4, INTX_DISABLE: 0x400 }),
  status: le16('', { INTERRUPT: 8, CAP_LIST: 0x10 }),
  revision: u8('1 for a modern device, 0 for a transitional or legacy one'),
  class: bytes(3, 'interface, subclass, class'),
  cache_line: u8(),
  latency: u8(),
  header_type: u8(),
  bist: u8(),
  bar0: le32(),
  bar1: le32(),
  bar2: le32(),
  bar3: le32(),
  bar4: le32(),
  bar5: le32(),
  cardbus: le32(),
  subsystem_vendor: le16(),
  subsystem_device: le16('for transitional and legacy devices, the virtio device type'),
  rom: le32(),
  capabilities: u8('offset of the first capability'),
  reserved: bytes(7),
  interrupt_line: u8('for software only: the IRQ the firmware routed'),
  interrupt_pin: u8('1 is INTA#'),
  min_grant: u8(),
  max_latency: u8(),
})
const { IO, MEMORY, MASTER, INTX_DISABLE } = Header.fields.command.bits
const { INTERRUPT, CAP_LIST } = Header.fields.status.bits
const BAR0 = Header.offset.bar0
const FIRST_CAPABILITY = 0x40

interface Bar {
  readonly ports: boolean
  readonly window: Window
  /** In bytes: a power of two. */
  readonly size: number
  unmap?: () => void
  /** Where it is mapped now. */
  base?: number
}

export interface FunctionIds {
  readonly device: number
  readonly revision: number
  readonly subsystem: number
  /** Base class and subclass. */
  readonly class: readonly [number, number]
}

/** A PCI function: its configuration space, and BARs that move where the driver puts them. */
export class PciFunction {
  /** The 256 bytes of its configuration space, and their first 64 by name. */
  readonly space = new Uint8Array(256)
  readonly header = new Header(new DataView(this.space.buffer))
  readonly bars: (Bar | undefined)[] = []
  /** Called around accesses to the configuration space: a capability may answer for its bytes. */
  trap?: { before(offset: number, size: number): void; after(offset: number, size: number): void }
  /** Bits software may change. */
  private readonly mask = new Uint8Array(256)
  private free = FIRST_CAPABILITY
  private level = false

  constructor(
    ids: FunctionIds,
    private readonly spaces: AddressSpaces,
    private readonly line: InterruptLine,
  ) {
    this.space.set(Header.bytes({ vendor: 0x1af4, subsystem_vendor: 0x1af4, interrupt_pin: 1 }))
    this.header.device = ids.device
    this.header.revision = ids.revision
    this.header.subsystem_device = ids.subsystem
    this.header.class = Uint8Array.of(0, ids.class[1], ids.class[0])
    this.writable(Header.offset.command, 2, IO | MEMORY | MASTER | INTX_DISABLE)
    this.writable(Header.offset.cache_line, 1, 0xff)
    this.writable(Header.offset.interrupt_line, 1, 0xff)
  }

  /** Lets software change these bits. */
  writable(offset: number, size: number, bits: number) {
    for (let i = 0; i < size; i++) this.mask[offset + i] = bits >>> (8 * i)
  }

  addBar(index: number, ports: boolean, window: Window) {
    let size = ports ? 32 : 4096
    while (size < window.length) size *= 2
    this.bars[index] = { ports, window, size }
    this.view.setUint32(BAR0 + 4 * index, ports ? 1 : 0, true)
    this.writable(BAR0 + 4 * index, 4, ~(size - 1))
  }

  /** Appends a capability, whose first byte is its ID; returns its offset. */
  addCapability(capability: Uint8Array): number {
    const at = this.free
    this.space.set(capability, at)
    this.space[at + 1] = this.header.capabilities
    this.header.capabilities = at
    this.header.status |= CAP_LIST
    this.free = (at + capability.length + 3) & ~3
    return at
  }

  read(offset: number, size: number): number {
    this.trap?.before(offset, size)
    let value = 0
    for (let i = size; i--; ) value = value * 256 + (this.space[offset + i] ?? 0)
    return value
  }

  write(offset: number, size: number, value: number) {
    for (let i = 0; i < size; i++) {
      const mask = this.mask[offset + i] ?? 0
      this.space[offset + i] = (this.space[offset + i]! & ~mask) | ((value >>> (8 * i)) & mask)
    }
    this.decode()
    this.drive()
    this.trap?.after(offset, size)
  }

  /** INTA#: Status shows it always (§4.1.4.5.1), the line only while INTX_DISABLE is off. */
  interrupt(level: boolean) {
    this.level = level
    this.drive()
  }
  private drive() {
    const { header } = this
    header.status = (header.status & ~INTERRUPT) | (this.level ? INTERRUPT : 0)
    this.line.set(this.level && !(header.command & INTX_DISABLE))
  }

  /** Where a BAR points now, in its own space. */
  barAddress(index: number) {
    const bar = this.bars[index]
    return bar ? (this.view.getUint32(BAR0 + 4 * index, true) & ~(bar.size - 1)) >>> 0 : 0
  }

  /** Maps every BAR where its register says, if the command register lets it answer. */
  private decode() {
    this.bars.forEach((bar, index) => {
      if (!bar) return
      const enabled = this.header.command & (bar.ports ? IO : MEMORY)
      const address = this.barAddress(index)
      // All ones is software asking for the size; nothing lies at 0.
      const wanted = enabled && address !== 0 && address !== -bar.size >>> 0 ? address : undefined
      if (bar.base === wanted) return
      bar.unmap?.()
      bar.base = wanted
      bar.unmap =
        wanted === undefined
          ? undefined
          : bar.ports
            ? this.spaces.mapPorts(wanted & 0xffff, bar.window)
            : this.spaces.mapMemory(wanted, bar.window)
    })
  }

  /** Called when it is taken off the bus. */
  unplugged?: () => void

  /** Takes it off the bus. */
  unplug() {
    this.unplugged?.()
    for (const bar of this.bars) bar?.unmap?.()
    this.line.set(false)
  }

  private readonly view = new DataView(this.space.buffer)
}
