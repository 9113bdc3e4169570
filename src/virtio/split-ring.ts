import type { Chain } from './chain.ts'
import { le16, le32, le64, struct } from './layout.ts'
import { GuestError } from './machine.ts'
import { outOfOrder, outsideRam, Ring, wordsOf } from './ring.ts'

/** §2.7.5 */
export const Descriptor = struct('virtq_desc', '2.7.5', {
  addr: le64('guest-physical address of the buffer'),
  len: le32('its length in bytes'),
  flags: le16('what kind of buffer', { NEXT: 1, WRITE: 2, INDIRECT: 4 }),
  next: le16('index of the next descriptor, if NEXT'),
})
/** §2.7.6; `ring[]` and, with EVENT_IDX, `used_event` follow. */
export const Available = struct('virtq_avail', '2.7.6', {
  flags: le16('', { NO_INTERRUPT: 1 }),
  idx: le16('where the driver would put the next entry'),
})
/** §2.7.8; `ring[]` of elements and, with EVENT_IDX, `avail_event` follow. */
export const Used = struct('virtq_used', '2.7.8', {
  flags: le16('', { NO_NOTIFY: 1 }),
  idx: le16('where the device would put the next element'),
})
export const UsedElement = struct('virtq_used_elem', '2.7.8', {
  id: le32('head of the chain'),
  len: le32('bytes written into it'),
})

const { NEXT, WRITE, INDIRECT } = Descriptor.fields.flags.bits
const { NO_INTERRUPT } = Available.fields.flags.bits
const DESCRIPTOR = Descriptor.size
const IDX = Available.offset.idx
const ENTRIES = Available.size
const ELEMENT = UsedElement.size

/** In bytes, without what alignment adds (§2.7). */
export const splitSizes = (size: number, eventIndex: boolean) => ({
  desc: DESCRIPTOR * size,
  driver: ENTRIES + 2 * size + (eventIndex ? 2 : 0),
  device: ENTRIES + ELEMENT * size + (eventIndex ? 2 : 0),
})

/** Whether moving an index from `before` to `after` passes `event` (§2.7.7.2, §2.7.10). */
const crosses = (event: number, after: number, before: number) =>
  ((after - event - 1) & 0xffff) < ((after - before) & 0xffff)

/** A split virtqueue's rings (§2.7), seen from the device. All indices are free-running 16-bit counters. */
export class SplitRing extends Ring {
  /** The next available entry to take. */
  private next = 0
  /** Elements put into the used ring, and how many of these the driver has been shown. */
  private usedIndex = 0
  private published = 0
  /** What `avail_event` says now. */
  private availEvent = 0
  private readonly mask = this.size - 1
  /** Where the entries and the elements begin. */
  private readonly entries = this.driver + ENTRIES
  private readonly elements = this.device + ENTRIES

  get waiting() {
    return (this.memory.halves[(this.driver + IDX) >>> 1]! - this.next) & 0xffff
  }

  pop(chain: Chain): boolean {
    const { waiting, next } = this
    if (waiting === 0) {
      this.ask()
      return false
    }
    if (waiting > this.size) tooMany(waiting, this.size)
    this.next = (next + 1) & 0xffff
    this.walk(chain, this.memory.halves[(this.entries + 2 * (next & this.mask)) >>> 1]!)
    return true
  }

  /** Asks to be notified of the next buffer (§2.7.10). Without EVENT_IDX the driver always notifies us. */
  private ask() {
    if (!this.features.eventIndex || this.availEvent === this.next) return
    this.availEvent = this.next
    this.memory.setU16(this.elements + ELEMENT * this.size, this.next)
  }

  private walk(chain: Chain, head: number) {
    const { memory } = this
    let { words } = memory
    let { desc: table, size: count } = this
    let index = head
    /** Descriptors of the ring, once we are in an indirect table. */
    let slots = 0
    let steps = 0
    let buffers = 0
    let readable = 0
    let writable = 0
    for (;;) {
      if (index >= count || steps === count) lost(index, count)
      steps++
      const at = (table + DESCRIPTOR * index) >>> 2
      const low = words[at]!
      const high = words[at + 1]!
      const length = words[at + 2]!
      const flags = words[at + 3]! // and the next index above them
      if (flags & INDIRECT) {
        count = this.indirect(slots, flags, low + high * 2 ** 32, length)
        slots = steps
        steps = index = 0
        table = low
        if (low & 3) {
          words = wordsOf(memory.slice(low, length))
          table = 0
        }
        continue
      }
      if (length > 0) {
        if (high > 0 || !memory.has(low, length)) outsideRam(low + high * 2 ** 32, length)
        if (flags & WRITE) {
          if (low < this.high && low + length > this.low) this.keepOff(low, length, '2.7.4')
          writable += length
        } else {
          if (writable > 0) outOfOrder('2.7.4.2')
          readable += length
        }
        chain.set(buffers++, low, length)
      }
      if (!(flags & NEXT)) break
      index = flags >>> 16
    }
    chain.fill(head, slots || steps, buffers, readable, writable)
  }

  private indirect(slots: number, flags: number, address: number, length: number) {
    if (slots > 0) throw new GuestError('2.7.5.3.1', 'an indirect table inside an indirect table')
    if (flags & NEXT) throw new GuestError('2.7.5.3.1', 'INDIRECT and NEXT in one descriptor')
    return this.indirectEntries(address, length)
  }

  put(chain: Chain) {
    const { usedIndex } = this
    const { words } = this.memory
    const at = (this.elements + ELEMENT * (usedIndex & this.mask)) >>> 2
    words[at] = chain.id
    words[at + 1] = chain.written
    this.usedIndex = (usedIndex + 1) & 0xffff
  }

  publish(): boolean {
    const { usedIndex, published, memory, features, driver, device, size } = this
    if (published === usedIndex) return false
    this.published = usedIndex
    const { halves } = memory
    halves[(device + IDX) >>> 1] = usedIndex
    memory.stored(device, ENTRIES + ELEMENT * size)
    if (features.notifyOnEmpty && this.next === usedIndex && this.waiting === 0) return true
    if (!features.eventIndex) return !(halves[driver >>> 1]! & NO_INTERRUPT)
    return crosses(halves[(this.entries + 2 * size) >>> 1]!, usedIndex, published)
  }
}

function tooMany(waiting: number, size: number): never {
  throw new GuestError('2.7.6', `avail.idx runs ${waiting} ahead of a queue of ${size}`)
}
function lost(index: number, count: number): never {
  if (index < count) throw new GuestError('2.7.5', 'the descriptor chain loops')
  throw new GuestError('2.7.5', `descriptor ${index} is outside a table of ${count}`)
}
