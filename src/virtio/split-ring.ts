import { Chain } from './chain.ts'
import { le16, le32, le64, struct } from './layout.ts'
import { GuestError, type GuestMemory } from './machine.ts'
import type { Ring, RingFeatures, Virtqueue } from './queue.ts'

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
const { len: LEN, flags: FLAGS, next: LINK } = Descriptor.offset
const IDX = Available.offset.idx
const ENTRIES = Available.size
const ELEMENT = UsedElement.size

/** Entries an indirect table may have: Linux makes more than a queue holds, and something must bound our work. */
export const MAX_INDIRECT = 1024

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
export class SplitRing implements Ring {
  /** The next available entry to take. */
  next = 0
  /** Elements put into the used ring, and how many of these the driver has been shown. */
  usedIndex = 0
  published = 0
  /** What `avail_event` says now. */
  private availEvent = 0
  private readonly mask: number

  constructor(
    private readonly queue: Virtqueue,
    private readonly memory: GuestMemory,
    private readonly features: RingFeatures,
  ) {
    this.mask = queue.size - 1
  }

  get waiting() {
    return (this.memory.view.getUint16(this.queue.driver + IDX, true) - this.next) & 0xffff
  }

  pop(): Chain | undefined {
    const view = this.memory.view
    const { queue, mask } = this
    const waiting = (view.getUint16(queue.driver + IDX, true) - this.next) & 0xffff
    if (waiting === 0) {
      if (this.features.eventIndex) this.ask()
      return
    }
    if (waiting > queue.size)
      throw new GuestError('2.7.6', `avail.idx runs ${waiting} ahead of a queue of ${queue.size}`)
    const head = view.getUint16(queue.driver + ENTRIES + 2 * (this.next & mask), true)
    this.next = (this.next + 1) & 0xffff
    return this.walk(view, head)
  }

  /** Asks to be notified of the next buffer (§2.7.10). Without EVENT_IDX the driver always notifies us. */
  private ask() {
    if (this.availEvent === this.next) return
    this.availEvent = this.next
    this.memory.setU16(this.queue.device + ENTRIES + ELEMENT * this.queue.size, this.next)
  }

  private walk(view: DataView, head: number): Chain {
    const { queue, memory } = this
    const chain = new Chain(queue, queue.session, memory, head)
    let table = queue.desc
    let nested = false
    let count = queue.size
    let index = head
    for (let steps = 0; ; steps++) {
      if (!nested) chain.slots = steps + 1
      if (index >= count) throw new GuestError('2.7.5', `descriptor ${index} is outside a table of ${count}`)
      if (steps >= count) throw new GuestError('2.7.5', 'the descriptor chain loops')
      const at = table + index * DESCRIPTOR
      const address = view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32
      const length = view.getUint32(at + LEN, true)
      const flags = view.getUint16(at + FLAGS, true)
      if (flags & INDIRECT) {
        if (nested) throw new GuestError('2.7.5.3.1', 'an indirect table inside an indirect table')
        if (flags & NEXT) throw new GuestError('2.7.5.3.1', 'INDIRECT and NEXT in one descriptor')
        count = this.features.indirect ? indirectEntries(memory, address, length) : notNegotiated()
        nested = true
        table = address
        index = 0
        steps = -1
        continue
      }
      if (length > 0) {
        if (!memory.has(address, length)) throw outsideRam(address, length)
        if (flags & WRITE) {
          if (queue.overlaps(address, length)) throw new GuestError('2.7.4', 'a buffer lies over its own ring')
          chain.append(address, length, true)
        } else if (chain.writable > 0) throw new GuestError('2.7.4.2', 'a readable descriptor after a writable one')
        else chain.append(address, length, false)
      }
      if (!(flags & NEXT)) break
      index = view.getUint16(at + LINK, true)
    }
    if (chain.readable + chain.writable > 2 ** 32) throw tooLong()
    return chain
  }

  put(chain: Chain) {
    const slot = this.queue.device + ENTRIES + ELEMENT * (this.usedIndex & this.mask)
    this.memory.setU32Pair(slot, chain.id, chain.written)
    this.usedIndex = (this.usedIndex + 1) & 0xffff
  }

  publish(): boolean {
    const before = this.published
    if (before === this.usedIndex) return false
    this.published = this.usedIndex
    const { queue, memory, features } = this
    memory.setU16(queue.device + IDX, this.usedIndex)
    const view = memory.view
    if (features.notifyOnEmpty && queue.inFlight === 0 && this.waiting === 0) return true
    if (!features.eventIndex) return !(view.getUint16(queue.driver, true) & NO_INTERRUPT)
    return crosses(view.getUint16(queue.driver + ENTRIES + 2 * queue.size, true), this.usedIndex, before)
  }
}

/** §2.7.5.3, §2.8.7: how many descriptors an indirect table holds; refuses what cannot be one. */
export function indirectEntries(memory: GuestMemory, address: number, length: number): number {
  if (length === 0 || length % DESCRIPTOR !== 0)
    throw new GuestError('2.7.5.3', `an indirect table of ${length} bytes is not made of descriptors`)
  const entries = length / DESCRIPTOR
  if (entries > MAX_INDIRECT)
    throw new GuestError('2.7.5.3.1', `an indirect table of ${entries} descriptors; we take ${MAX_INDIRECT}`)
  if (!memory.has(address, length)) throw outsideRam(address, length)
  return entries
}
export function notNegotiated(): never {
  throw new GuestError('2.7.5.3.1', 'an indirect descriptor, though INDIRECT_DESC was not negotiated')
}
export const outsideRam = (address: number, length: number) =>
  new GuestError('2.7.5', `${length} bytes at 0x${address.toString(16)} are not in RAM`)
export const tooLong = () => new GuestError('2.7.5', 'the buffers of a chain are longer than 2^32 bytes')
