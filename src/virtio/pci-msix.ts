import { le16, le32, struct, u8 } from './layout.ts'
import type { Window } from './machine.ts'

/** Message signalled interrupts, as the machine delivers them. */
export interface MessageInterrupts {
  send(address: number, data: number): void
}

/** PCI Local Bus Specification 3.0, §6.8.2. */
export const MsixCapability = struct('msix_cap', 'PCI 6.8.2', {
  cap_vndr: u8('0x11'),
  cap_next: u8(),
  control: le16('table size less one, and', { MASK: 0x4000, ENABLE: 0x8000 }),
  table: le32('offset of the table, and its BAR in the low three bits'),
  pending: le32('the same for the pending bits'),
})
const { MASK, ENABLE } = MsixCapability.fields.control.bits

export const MsixEntry = struct('msix_entry', 'PCI 6.8.2', {
  address: le32('where the message is written'),
  address_high: le32(),
  data: le32('what is written there'),
  control: le32('', { MASK: 1 }),
})
const PENDING = 0x800

/** §4.1.5.1.2: no vector is mapped. */
export const NO_VECTOR = 0xffff

/** An MSI-X table and its pending bits, in a BAR of their own. */
export class Msix implements Window {
  readonly length = 0x1000
  private readonly view: DataView
  private readonly pending = new Set<number>()
  /** Message control, as the capability holds it. */
  control: number

  constructor(
    readonly vectors: number,
    private readonly messages: MessageInterrupts,
  ) {
    this.view = new DataView(new ArrayBuffer(vectors * MsixEntry.size))
    this.control = vectors - 1
    for (let i = 0; i < vectors; i++) this.entry(i).control = MsixEntry.fields.control.bits.MASK
  }

  get enabled() {
    return (this.control & ENABLE) !== 0
  }

  capability(bar: number) {
    return MsixCapability.bytes({ cap_vndr: 0x11, control: this.control, table: bar, pending: PENDING | bar })
  }

  /** A vector the driver may choose, or NO_VECTOR. */
  valid(vector: number) {
    return vector < this.vectors ? vector : NO_VECTOR
  }

  raise(vector: number) {
    if (vector >= this.vectors) return
    this.pending.add(vector)
    this.deliver()
  }

  /** Software changed message control. */
  setControl(control: number) {
    this.control = control
    this.deliver()
  }

  private deliver() {
    if (!this.enabled || this.control & MASK) return
    for (const vector of this.pending) {
      const { address, data, control } = this.entry(vector)
      if (control & MsixEntry.fields.control.bits.MASK) continue
      this.pending.delete(vector)
      this.messages.send(address, data)
    }
  }

  read(offset: number, size: number): number {
    let value = 0
    for (let i = size; i--; ) value = value * 256 + this.byte(offset + i)
    return value
  }
  write(offset: number, size: number, value: number) {
    for (let i = 0; i < size && offset + i < this.view.byteLength; i++)
      this.view.setUint8(offset + i, value >>> (8 * i))
    this.deliver()
  }

  private byte(offset: number) {
    if (offset < this.view.byteLength) return this.view.getUint8(offset)
    let bits = 0
    for (let i = 0; i < 8; i++) if (this.pending.has((offset - PENDING) * 8 + i)) bits |= 1 << i
    return bits
  }
  private entry(vector: number) {
    return new MsixEntry(this.view, vector * MsixEntry.size)
  }
}
