import { Available, Descriptor, splitSizes, Used, UsedElement } from '../virtio/split-ring.ts'
import type { Arena } from './arena.ts'
import type { QueueFeatures } from './queue.ts'
import { type FlaggedBuffer, RequestRing } from './request-ring.ts'
import type { Placement } from './transport.ts'

const { NEXT } = Descriptor.fields.flags.bits
const { NO_INTERRUPT } = Available.fields.flags.bits
const { NO_NOTIFY } = Used.fields.flags.bits

/** A split virtqueue (§2.7), seen from the driver. */
export class SplitDriverRing<T> extends RequestRing<T> {
  readonly placement: Placement
  /** Free descriptors, first to be used first: what IN_ORDER demands (§2.7.5.1), and as good as any without it. */
  private readonly unused: number[]
  /** Free-running 16-bit counters: entries put, entries told of, elements taken. */
  private added = 0
  private told = 0
  private taken = 0

  constructor(arena: Arena, size: number, features: QueueFeatures, align: number) {
    super(arena, features)
    const sizes = splitSizes(size, true)
    const desc = this.claim(Math.ceil((sizes.desc + sizes.driver) / align) * align + sizes.device, align)
    const driver = desc + sizes.desc
    const device = Math.ceil((driver + sizes.driver) / align) * align
    this.placement = { size, desc, driver, device }
    this.unused = Array.from({ length: size }, (_, i) => i)
  }

  get free() {
    return this.unused.length
  }
  get position() {
    return this.added
  }

  protected offerChain(buffers: readonly FlaggedBuffer[]) {
    const descriptors = this.unused.splice(0, buffers.length)
    for (const [i, buffer] of buffers.entries())
      this.describe(this.placement.desc, descriptors[i]!, buffer, descriptors[i + 1])
    const id = descriptors[0]!
    this.offer(id)
    return { id, descriptors }
  }
  protected tableEntry(table: number, index: number, buffer: FlaggedBuffer, last: boolean) {
    this.describe(table, index, buffer, last ? undefined : index + 1)
  }
  private describe(table: number, index: number, { address, length, flags }: FlaggedBuffer, next: number | undefined) {
    Object.assign(new Descriptor(this.view, table + index * Descriptor.size), {
      addr: address,
      len: length,
      flags: next === undefined ? flags : flags | NEXT,
      next: next ?? 0,
    })
  }

  /** Puts a head into the available ring, and shows it. */
  offer(head: number) {
    const { driver, size } = this.placement
    this.view.setUint16(driver + Available.size + 2 * (this.added % size), head, true)
    this.added = (this.added + 1) & 0xffff
    this.view.setUint16(driver + Available.offset.idx, this.added, true)
  }

  protected nextUsed() {
    const { device, size } = this.placement
    if (this.view.getUint16(device + Used.offset.idx, true) === this.taken) return undefined
    const { id, len } = new UsedElement(this.view, device + Used.size + UsedElement.size * (this.taken % size))
    return { id, length: len }
  }
  protected took(_: number, descriptors: readonly number[]) {
    this.unused.push(...descriptors)
    this.taken = (this.taken + 1) & 0xffff
  }

  // ---- suppression, §2.7.7 and §2.7.10 ----

  needsKick(): boolean {
    const { device, size } = this.placement
    const before = this.told
    this.told = this.added
    if (!this.features.eventIndex) return !(this.view.getUint16(device, true) & NO_NOTIFY)
    const event = this.view.getUint16(device + Used.size + UsedElement.size * size, true)
    return ((this.added - event - 1) & 0xffff) < ((this.added - before) & 0xffff)
  }

  private set usedEvent(index: number) {
    const { driver, size } = this.placement
    this.view.setUint16(driver + Available.size + 2 * size, index & 0xffff, true)
  }
  protected askForNext() {
    this.usedEvent = this.taken
  }
  protected setInterrupts(on: boolean) {
    // With EVENT_IDX the flag must stay 0 (§2.7.7.1): an index far away does it.
    if (this.features.eventIndex) this.usedEvent = this.taken - 1
    else this.view.setUint16(this.placement.driver, on ? 0 : NO_INTERRUPT, true)
  }
}
