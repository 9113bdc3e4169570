import type { Chain } from './chain.ts'
import { le16, le32, le64, struct } from './layout.ts'
import { GuestError } from './machine.ts'
import { outOfOrder, outsideRam, Ring, wordsOf } from './ring.ts'

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
export class PackedRing extends Ring {
  /** The next descriptor to take, and to mark used. */
  next = 0
  usedIndex = 0
  /** Marked used since the driver was last told: a count, as a driver that polls may be more than two laps ahead of that. */
  untold = 0
  /** What the device area says now: a position, or -1 for "notify always". */
  private asked = -1
  private readonly laps = 2 * this.size

  /** Where a descriptor begins, in words. */
  private slot(position: number) {
    const { size, desc } = this
    return (desc + DESCRIPTOR * (position < size ? position : position - size)) >>> 2
  }

  /** §2.8.1: available once AVAIL equals our wrap counter and USED does not. */
  private available(flags: number, position: number) {
    return (flags & (AVAIL | USED)) === (position < this.size ? AVAIL : USED)
  }

  get waiting() {
    return Number(this.available(this.memory.words[this.slot(this.next) + 3]! >>> 16, this.next))
  }

  pop(chain: Chain): boolean {
    if (this.waiting === 0) {
      this.ask()
      return false
    }
    const { memory } = this
    let { words } = memory
    let { next } = this
    let id = 0
    let slots = 0
    let buffers = 0
    let readable = 0
    let writable = 0
    let at = 0
    let flags = 0
    /** Left of an indirect table. */
    let entries = 0
    do {
      if (entries > 0) {
        // §2.8.7: it is read from end to end; of the flags only WRITE counts in it.
        at += 4
        entries--
        flags = ((words[at + 3]! >>> 16) & WRITE) | (entries > 0 ? NEXT : 0)
      } else {
        at = this.slot(next)
        const last = words[at + 3]!
        id = last & 0xffff
        flags = last >>> 16
        if (slots === this.size || !this.available(flags, next)) unfinished(slots === this.size)
        slots++
        next = next + 1 === this.laps ? 0 : next + 1
      }
      const low = words[at]!
      const high = words[at + 1]!
      const length = words[at + 2]!
      if (flags & INDIRECT) {
        entries = this.indirect(flags, low + high * 2 ** 32, length)
        flags = NEXT
        at = (low >>> 2) - 4
        if (low & 3) {
          words = wordsOf(memory.slice(low, length))
          at = -4
        }
      } else if (length > 0) {
        if (high > 0 || !memory.has(low, length)) outsideRam(low + high * 2 ** 32, length)
        if (flags & WRITE) {
          if (low < this.high && low + length > this.low) this.keepOff(low, length, '2.8.5')
          writable += length
        } else {
          if (writable > 0) outOfOrder('2.8.5')
          readable += length
        }
        chain.set(buffers++, low, length)
      }
    } while (flags & NEXT)
    this.next = next
    chain.fill(id, slots, buffers, readable, writable)
    return true
  }

  private indirect(flags: number, address: number, length: number) {
    if (flags & NEXT) throw new GuestError('2.8.8', 'INDIRECT and NEXT in one descriptor')
    return this.indirectEntries(address, length)
  }

  /** Asks to be notified when the descriptor at `next` becomes available (§2.8.14, §2.8.21.3.1). */
  private ask() {
    if (!this.features.eventIndex || this.asked === this.next) return
    this.asked = this.next
    const { size, device } = this
    const event = this.next < size ? this.next | 0x8000 : this.next - size
    this.memory.setU32(device, event | (DESC << 16))
  }

  put(chain: Chain) {
    const { memory, usedIndex, size, laps } = this
    const { words } = memory
    const { id, written, slots } = chain
    const at = this.slot(usedIndex)
    words[at + 2] = written
    words[at + 3] = id | (((usedIndex < size ? AVAIL | USED : 0) | (written > 0 ? WRITE : 0)) << 16)
    const next = usedIndex + slots
    this.usedIndex = next < laps ? next : next - laps
    this.untold += slots
  }

  publish(): boolean {
    const { usedIndex, untold, memory, features, size, laps } = this
    if (untold === 0) return false
    this.untold = 0
    memory.stored(this.desc, DESCRIPTOR * size)
    const suppression = memory.words[this.driver >>> 2]!
    const flags = (suppression >>> 16) & 3
    if (flags !== DESC || !features.eventIndex) return flags !== DISABLE
    const event = (suppression & 0x7fff) + (suppression & 0x8000 ? 0 : size)
    // How many descriptors ago the event was: the one marked last was one ago.
    const ago = usedIndex - event
    return (ago > 0 ? ago : ago + laps) <= untold
  }
}

function unfinished(full: boolean): never {
  if (full) throw new GuestError('2.8.7', 'the descriptor chain is longer than its ring')
  throw new GuestError('2.8.6', 'a chain goes on into an unavailable slot')
}
