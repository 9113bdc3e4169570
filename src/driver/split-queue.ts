import { Available, Descriptor, splitSizes, Used, UsedElement } from '../virtio/split-ring.ts'
import type { Arena } from './arena.ts'
import { LinuxError } from './errno.ts'
import type { Buffer, DriverRing, QueueFeatures, Used as UsedRequest } from './queue.ts'
import type { Placement } from './transport.ts'

const { NEXT, WRITE, INDIRECT } = Descriptor.fields.flags.bits
const { NO_INTERRUPT } = Available.fields.flags.bits
const { NO_NOTIFY } = Used.fields.flags.bits

interface Request<T> {
  readonly token: T
  readonly descriptors: number[]
  readonly capacity: number
  readonly table: Buffer | undefined
}

/** A split virtqueue (§2.7), seen from the driver. */
export class SplitDriverRing<T> implements DriverRing<T> {
  readonly placement: Placement
  /** Free descriptors, first to be used first: what IN_ORDER demands (§2.7.5.1), and as good as any without it. */
  private readonly unused: number[]
  private readonly requests = new Map<number, Request<T>>()
  /** Heads in the order they were made available. */
  private readonly order: number[] = []
  /** Used requests that are known, and not yet taken. */
  private readonly known: { id: number; length: number | undefined }[] = []
  /** Free-running 16-bit counters: entries put, entries told of, elements taken. */
  private added = 0
  private told = 0
  private taken = 0
  private interrupts = true

  constructor(
    private readonly arena: Arena,
    size: number,
    private readonly features: QueueFeatures,
    align: number,
  ) {
    const sizes = splitSizes(size, true)
    const desc = arena.allocate(Math.ceil((sizes.desc + sizes.driver) / align) * align + sizes.device, align)
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
  private get view() {
    return this.arena.memory.view
  }

  add(out: readonly Buffer[], room: readonly Buffer[], token: T): boolean {
    const buffers = [...out.map(buffer => ({ ...buffer, flags: 0 })), ...room.map(b => ({ ...b, flags: WRITE }))]
    if (buffers.length === 0) throw new RangeError('a request needs at least one buffer')
    const capacity = room.reduce((sum, { length }) => sum + length, 0)
    const indirect = this.features.indirect && buffers.length > 1
    if ((indirect ? 1 : buffers.length) > this.free) return false
    const { desc } = this.placement
    let table: Buffer | undefined
    let descriptors: number[]
    if (indirect) {
      const length = buffers.length * Descriptor.size
      table = { address: this.arena.allocate(length), length }
      buffers.forEach(({ address, length, flags }, i) => {
        const more = i + 1 < buffers.length ? NEXT : 0
        this.describe(table!.address, i, address, length, flags | more, i + 1)
      })
      descriptors = this.unused.splice(0, 1)
      this.describe(desc, descriptors[0]!, table.address, length, INDIRECT, 0)
    } else {
      descriptors = this.unused.splice(0, buffers.length)
      buffers.forEach(({ address, length, flags }, i) => {
        const next = descriptors[i + 1]
        this.describe(desc, descriptors[i]!, address, length, flags | (next === undefined ? 0 : NEXT), next ?? 0)
      })
    }
    const head = descriptors[0]!
    this.requests.set(head, { token, descriptors, capacity, table })
    this.order.push(head)
    this.offer(head)
    return true
  }

  /** Puts a head into the available ring, and shows it. */
  offer(head: number) {
    const { driver, size } = this.placement
    this.view.setUint16(driver + Available.size + 2 * (this.added % size), head, true)
    this.added = (this.added + 1) & 0xffff
    this.view.setUint16(driver + Available.offset.idx, this.added, true)
  }

  private describe(table: number, index: number, addr: number, len: number, flags: number, next: number) {
    Object.assign(new Descriptor(this.view, table + index * Descriptor.size), { addr, len, flags, next })
  }

  private get usedIndex() {
    return this.view.getUint16(this.placement.device + Used.offset.idx, true)
  }

  take(): UsedRequest<T> | undefined {
    if (this.known.length === 0) this.learn()
    const used = this.known.shift()
    if (!used) return
    const { id, length } = used
    const request = this.requests.get(id)
    if (!request) throw new LinuxError('EIO', `id ${id} is not a head!`)
    this.requests.delete(id)
    this.order.splice(this.order.indexOf(id), 1)
    this.unused.push(...request.descriptors)
    if (request.table) this.arena.release(request.table.address, request.table.length)
    this.taken = (this.taken + 1) & 0xffff
    if (this.features.eventIndex && this.interrupts) this.usedEvent = this.taken
    return { token: request.token, length: length ?? request.capacity }
  }

  /** Reads the next used element. With IN_ORDER it may stand for all before it too, used to the full (§2.7.8). */
  private learn() {
    if (this.usedIndex === this.taken) return
    const { device, size } = this.placement
    const { id, len } = new UsedElement(this.view, device + Used.size + UsedElement.size * (this.taken % size))
    const before = this.features.inOrder ? this.order.slice(0, Math.max(0, this.order.indexOf(id))) : []
    this.known.push(...before.map(head => ({ id: head, length: undefined })), { id, length: len })
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

  enableInterrupts(): boolean {
    this.interrupts = true
    if (this.features.eventIndex) this.usedEvent = this.taken
    else this.view.setUint16(this.placement.driver, 0, true)
    return this.usedIndex === this.taken
  }
  disableInterrupts() {
    this.interrupts = false
    // With EVENT_IDX the flag must stay 0 (§2.7.7.1): an index far away does it.
    if (this.features.eventIndex) this.usedEvent = this.taken - 1
    else this.view.setUint16(this.placement.driver, NO_INTERRUPT, true)
  }
}
