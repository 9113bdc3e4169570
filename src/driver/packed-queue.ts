import { EventSuppression, PackedDescriptor, packedSizes } from '../virtio/packed-ring.ts'
import type { Arena } from './arena.ts'
import type { QueueFeatures } from './queue.ts'
import { type FlaggedBuffer, RequestRing } from './request-ring.ts'
import type { Placement } from './transport.ts'

const { NEXT, AVAIL, USED } = PackedDescriptor.fields.flags.bits
const { ENABLE, DISABLE, DESC } = EventSuppression.fields.flags.bits
const FLAGS = PackedDescriptor.offset.flags

/** A packed virtqueue (§2.8), seen from the driver. Positions count from 0 to twice the size: the second lap inverts the flags. */
export class PackedDriverRing<T> extends RequestRing<T> {
  readonly placement: Placement
  free: number
  private readonly ids: number[]
  private added = 0
  /** Descriptors added since it was last asked whether to kick: a count, as two laps on the position is the same. */
  private untold = 0
  private taken = 0
  private readonly laps: number

  constructor(
    arena: Arena,
    private readonly size: number,
    features: QueueFeatures,
    align: number,
  ) {
    super(arena, features)
    const sizes = packedSizes(size)
    const desc = this.claim(sizes.desc, align)
    this.placement = { size, desc, driver: this.claim(sizes.driver), device: this.claim(sizes.device) }
    this.free = size
    this.ids = Array.from({ length: size }, (_, i) => i)
    this.laps = 2 * size
    this.enableInterrupts()
  }

  get position() {
    return this.event(this.added)
  }
  /** A position as the ring has it: offset, and the wrap counter in the top bit. */
  private event(position: number) {
    return position < this.size ? position | 0x8000 : position - this.size
  }
  private slot(position: number) {
    return this.placement.desc + PackedDescriptor.size * (position % this.size)
  }

  /** The first descriptor becomes available last: then the device sees a whole chain or none (§2.8.21). */
  protected offerChain(buffers: readonly FlaggedBuffer[]) {
    const id = this.ids.shift()!
    const descriptors = buffers.map((_, i) => (this.added + i) % this.laps)
    for (let i = buffers.length; i--; ) {
      const position = descriptors[i]!
      const more = i + 1 < buffers.length ? NEXT : 0
      this.describe(this.slot(position), buffers[i]!, id, more | (position < this.size ? AVAIL : USED))
    }
    this.added = (this.added + buffers.length) % this.laps
    this.untold += buffers.length
    this.free -= buffers.length
    return { id, descriptors }
  }
  protected tableEntry(table: number, index: number, buffer: FlaggedBuffer) {
    this.describe(table + index * PackedDescriptor.size, buffer, 0, 0)
  }
  private describe(at: number, { address, length, flags }: FlaggedBuffer, id: number, more: number) {
    Object.assign(new PackedDescriptor(this.view, at), { addr: address, len: length, id, flags: flags | more })
  }

  /** §2.8.5 says that len means nothing without WRITE; Linux reads it all the same, and QEMU counts on that. */
  protected nextUsed() {
    const at = this.slot(this.taken)
    const used = this.taken < this.size ? AVAIL | USED : 0
    if ((this.view.getUint16(at + FLAGS, true) & (AVAIL | USED)) !== used) return undefined
    const { id, len } = new PackedDescriptor(this.view, at)
    return { id, length: len }
  }
  protected took(id: number, descriptors: readonly number[]) {
    this.ids.push(id)
    this.free += descriptors.length
    this.taken = (this.taken + descriptors.length) % this.laps
  }

  // ---- suppression, §2.8.14 ----

  needsKick(): boolean {
    const { untold } = this
    this.untold = 0
    const { desc, flags } = new EventSuppression(this.view, this.placement.device)
    if (flags !== DESC) return flags !== DISABLE
    const event = (desc & 0x7fff) + (desc & 0x8000 ? 0 : this.size)
    const ago = this.added - event
    return (ago > 0 ? ago : ago + this.laps) <= untold
  }

  protected askForNext() {
    const event = { desc: this.event(this.taken), flags: DESC }
    Object.assign(new EventSuppression(this.view, this.placement.driver), event)
  }
  protected setInterrupts(on: boolean) {
    new EventSuppression(this.view, this.placement.driver).flags = on ? ENABLE : DISABLE
  }
}
