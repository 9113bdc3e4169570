import { Chain } from './chain.ts'
import { le16, le32, le64, struct } from './layout.ts'
import { GuestError, type GuestMemory } from './machine.ts'
import type { Ring, RingFeatures, Virtqueue } from './queue.ts'
import { indirectEntries, notNegotiated, outsideRam, tooLong } from './split-ring.ts'

/** §2.8.13 */
export const PackedDescriptor = struct('pvirtq_desc', '2.8.13', {
  addr: le64('guest-physical address of the buffer'),
  len: le32('its length in bytes; in a used descriptor, the bytes written'),
  id: le16('buffer ID'),
  flags: le16('what kind of buffer, and whose it is', { NEXT: 1, WRITE: 2, INDIRECT: 4, AVAIL: 0x80, USED: 0x8000 }),
})
/** §2.8.14: in the driver area it governs our interrupts, in the device area the driver's notifications. */
export const EventSuppression = struct('pvirtq_event_suppress', '2.8.14', {
  desc: le16('ring offset (15 bits) and wrap counter (the top bit) of the event'),
  flags: le16('', { ENABLE: 0, DISABLE: 1, DESC: 2 }),
})

const { NEXT, WRITE, INDIRECT, AVAIL, USED } = PackedDescriptor.fields.flags.bits
const { DISABLE, DESC } = EventSuppression.fields.flags.bits
const DESCRIPTOR = PackedDescriptor.size
const { len: LEN, id: ID, flags: FLAGS } = PackedDescriptor.offset
const EVENT_FLAGS = EventSuppression.offset.flags

/** In bytes (§2.8). */
export const packedSizes = (size: number) => ({
  desc: DESCRIPTOR * size,
  driver: EventSuppression.size,
  device: EventSuppression.size,
})

/**
 * A packed virtqueue's ring (§2.8), seen from the device. Positions run over two laps: below `size` the wrap counter is
 * 1, from there on 0, so that one number says both.
 */
export class PackedRing implements Ring {
  /** The next descriptor to take, to mark used, and where the driver was last shown to be. */
  next = 0
  usedIndex = 0
  published = 0
  /** What the device area says now: a position, or -1 for "notify always". */
  private asked = -1
  private readonly laps: number

  constructor(
    private readonly queue: Virtqueue,
    private readonly memory: GuestMemory,
    private readonly features: RingFeatures,
  ) {
    this.laps = 2 * queue.size
  }

  private slot(position: number) {
    const { size, desc } = this.queue
    return desc + DESCRIPTOR * (position < size ? position : position - size)
  }

  /** §2.8.1: available once AVAIL equals our wrap counter and USED does not. */
  private available(flags: number, position: number) {
    return (flags & (AVAIL | USED)) === (position < this.queue.size ? AVAIL : USED)
  }

  get waiting() {
    return Number(this.available(this.memory.view.getUint16(this.slot(this.next) + FLAGS, true), this.next))
  }

  pop(): Chain | undefined {
    const view = this.memory.view
    if (!this.available(view.getUint16(this.slot(this.next) + FLAGS, true), this.next)) {
      if (this.features.eventIndex) this.ask()
      return
    }
    const { queue, memory } = this
    const chain = new Chain(queue, queue.session, memory, 0, 0)
    for (;;) {
      if (chain.slots === queue.size) throw new GuestError('2.8.7', 'the descriptor chain is longer than its ring')
      const at = this.slot(this.next)
      const flags = view.getUint16(at + FLAGS, true)
      if (!this.available(flags, this.next)) throw new GuestError('2.8.6', 'a chain goes on into an unavailable slot')
      chain.slots++
      chain.id = view.getUint16(at + ID, true)
      this.next = this.next + 1 === this.laps ? 0 : this.next + 1
      const address = view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32
      const length = view.getUint32(at + LEN, true)
      if (flags & INDIRECT) {
        if (flags & NEXT) throw new GuestError('2.8.8', 'INDIRECT and NEXT in one descriptor')
        this.table(chain, view, address, length)
      } else this.add(chain, address, length, flags)
      if (!(flags & NEXT)) break
    }
    if (chain.readable + chain.writable > 2 ** 32) throw tooLong()
    return chain
  }

  /** §2.8.7: the table is read from end to end; of the flags only WRITE counts in it. */
  private table(chain: Chain, view: DataView, address: number, length: number) {
    if (!this.features.indirect) notNegotiated()
    const entries = indirectEntries(this.memory, address, length)
    for (let at = address; at < address + entries * DESCRIPTOR; at += DESCRIPTOR) {
      const flags = view.getUint16(at + FLAGS, true)
      const buffer = view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32
      this.add(chain, buffer, view.getUint32(at + LEN, true), flags)
    }
  }

  private add(chain: Chain, address: number, length: number, flags: number) {
    if (length === 0) return
    if (!this.memory.has(address, length)) throw outsideRam(address, length)
    if (flags & WRITE) {
      if (this.queue.overlaps(address, length)) throw new GuestError('2.8.5', 'a buffer lies over its own ring')
      chain.append(address, length, true)
    } else if (chain.writable > 0) throw new GuestError('2.8.5', 'a readable descriptor after a writable one')
    else chain.append(address, length, false)
  }

  /** Asks to be notified when the descriptor at `next` becomes available (§2.8.14, §2.8.21.3.1). */
  private ask() {
    if (this.asked === this.next) return
    this.asked = this.next
    const { size, device } = this.queue
    const event = this.next < size ? this.next | 0x8000 : this.next - size
    this.memory.setU32(device, event | (DESC << 16))
  }

  put(chain: Chain) {
    const lap = this.usedIndex < this.queue.size ? AVAIL | USED : 0
    const { written } = chain
    const flags = lap | (written > 0 ? WRITE : 0)
    this.memory.setU32Pair(this.slot(this.usedIndex) + LEN, written, chain.id | (flags << 16))
    this.usedIndex = (this.usedIndex + chain.slots) % this.laps
  }

  publish(): boolean {
    const used = (this.usedIndex - this.published + this.laps) % this.laps
    if (used === 0) return false
    const before = this.published
    this.published = this.usedIndex
    const { view } = this.memory
    const { driver, size } = this.queue
    const flags = view.getUint16(driver + EVENT_FLAGS, true) & 3
    if (flags !== DESC || !this.features.eventIndex) return flags !== DISABLE
    const event = view.getUint16(driver, true)
    const position = (event & 0x7fff) + (event & 0x8000 ? 0 : size)
    return (position - before + this.laps) % this.laps < used
  }
}
