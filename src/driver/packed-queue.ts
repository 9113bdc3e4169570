import { EventSuppression, PackedDescriptor, packedSizes } from '../virtio/packed-ring.ts'
import type { Arena } from './arena.ts'
import { LinuxError } from './errno.ts'
import type { Buffer, DriverRing, QueueFeatures, Used } from './queue.ts'
import type { Placement } from './transport.ts'

const { NEXT, WRITE, INDIRECT, AVAIL, USED } = PackedDescriptor.fields.flags.bits
const { ENABLE, DISABLE, DESC } = EventSuppression.fields.flags.bits
const FLAGS = PackedDescriptor.offset.flags

interface Request<T> {
  readonly token: T
  readonly slots: number
  readonly capacity: number
  readonly table: Buffer | undefined
}

/** A packed virtqueue (§2.8), seen from the driver. Positions count from 0 to twice the size: the second lap inverts the flags. */
export class PackedDriverRing<T> implements DriverRing<T> {
  readonly placement: Placement
  free: number
  private readonly ids: number[]
  private readonly requests = new Map<number, Request<T>>()
  /** IDs in the order they were made available. */
  private readonly order: number[] = []
  private readonly known: { id: number; length: number | undefined }[] = []
  private added = 0
  private told = 0
  private taken = 0
  private interrupts = true
  private readonly laps: number

  constructor(
    private readonly arena: Arena,
    private readonly size: number,
    private readonly features: QueueFeatures,
    align: number,
  ) {
    const sizes = packedSizes(size)
    const desc = arena.allocate(sizes.desc, align)
    this.placement = { size, desc, driver: arena.allocate(sizes.driver), device: arena.allocate(sizes.device) }
    this.free = size
    this.ids = Array.from({ length: size }, (_, i) => i)
    this.laps = 2 * size
    this.enableInterrupts()
  }

  private get view() {
    return this.arena.memory.view
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

  add(out: readonly Buffer[], room: readonly Buffer[], token: T): boolean {
    const buffers = [...out.map(buffer => ({ ...buffer, flags: 0 })), ...room.map(b => ({ ...b, flags: WRITE }))]
    if (buffers.length === 0) throw new RangeError('a request needs at least one buffer')
    const indirect = this.features.indirect && buffers.length > 1
    const slots = indirect ? 1 : buffers.length
    if (slots > this.free) return false
    const id = this.ids.shift()!
    const capacity = room.reduce((sum, { length }) => sum + length, 0)
    let table: Buffer | undefined
    if (indirect) {
      const length = buffers.length * PackedDescriptor.size
      table = { address: this.arena.allocate(length), length }
      buffers.forEach(({ address, length, flags }, i) => {
        this.describe(table!.address + i * PackedDescriptor.size, address, length, 0, flags)
      })
      this.describe(this.slot(this.added), table.address, length, id, INDIRECT | this.available(this.added))
    } else this.chain(buffers, id)
    this.requests.set(id, { token, slots, capacity, table })
    this.order.push(id)
    this.added = (this.added + slots) % this.laps
    this.free -= slots
    return true
  }

  /** The first descriptor becomes available last: then the device sees a whole chain or none (§2.8.21). */
  private chain(buffers: readonly (Buffer & { readonly flags: number })[], id: number) {
    for (let i = buffers.length; i--; ) {
      const position = (this.added + i) % this.laps
      const { address, length, flags } = buffers[i]!
      const more = i + 1 < buffers.length ? NEXT : 0
      this.describe(this.slot(position), address, length, id, flags | more | this.available(position))
    }
  }

  private describe(at: number, addr: number, len: number, id: number, flags: number) {
    Object.assign(new PackedDescriptor(this.view, at), { addr, len, id, flags })
  }
  private available(position: number) {
    return position < this.size ? AVAIL : USED
  }
  private isUsed(position: number) {
    const flags = this.view.getUint16(this.slot(position) + FLAGS, true)
    return (flags & (AVAIL | USED)) === (position < this.size ? AVAIL | USED : 0)
  }

  take(): Used<T> | undefined {
    if (this.known.length === 0) this.learn()
    const used = this.known.shift()
    if (!used) return
    const { id, length } = used
    const request = this.requests.get(id)
    if (!request) throw new LinuxError('EIO', `id ${id} is not a head!`)
    this.requests.delete(id)
    this.order.splice(this.order.indexOf(id), 1)
    this.ids.push(id)
    this.free += request.slots
    if (request.table) this.arena.release(request.table.address, request.table.length)
    this.taken = (this.taken + request.slots) % this.laps
    if (this.features.eventIndex && this.interrupts) this.askAt(this.taken)
    return { token: request.token, length: length ?? request.capacity }
  }

  /** Reads the next used descriptor. With IN_ORDER it may stand for all before it too, used to the full (§2.8.9). */
  private learn() {
    if (!this.isUsed(this.taken)) return
    const { id, len, flags } = new PackedDescriptor(this.view, this.slot(this.taken))
    const before = this.features.inOrder ? this.order.slice(0, Math.max(0, this.order.indexOf(id))) : []
    // §2.8.12: len means something only if the device says it wrote.
    this.known.push(...before.map(id => ({ id, length: undefined })), { id, length: flags & WRITE ? len : 0 })
  }

  // ---- suppression, §2.8.14 ----

  needsKick(): boolean {
    const before = this.told
    this.told = this.added
    const { desc, flags } = new EventSuppression(this.view, this.placement.device)
    if (flags !== DESC) return flags !== DISABLE
    const event = (desc & 0x7fff) + (desc & 0x8000 ? 0 : this.size)
    const passed = (this.added - before + this.laps) % this.laps
    return (event - before + this.laps) % this.laps < passed
  }

  private askAt(position: number) {
    Object.assign(new EventSuppression(this.view, this.placement.driver), { desc: this.event(position), flags: DESC })
  }
  enableInterrupts(): boolean {
    this.interrupts = true
    if (this.features.eventIndex) this.askAt(this.taken)
    else new EventSuppression(this.view, this.placement.driver).flags = ENABLE
    return !this.isUsed(this.taken)
  }
  disableInterrupts() {
    this.interrupts = false
    new EventSuppression(this.view, this.placement.driver).flags = DISABLE
  }
}
