import { Descriptor } from '../virtio/split-ring.ts'
import type { Arena } from './arena.ts'
import { LinuxError } from './errno.ts'
import type { Buffer, DriverRing, QueueFeatures, Used } from './queue.ts'
import type { Placement } from './transport.ts'

// The same bits in both formats, and the same size (§2.7.5, §2.8.13).
const { WRITE, INDIRECT } = Descriptor.fields.flags.bits

/** What a descriptor is to say, but for what links it to the next. */
export interface FlaggedBuffer extends Buffer {
  readonly flags: number
}

interface Request<T> {
  readonly token: T
  /** The descriptors of the ring it takes, in the order of its chain. */
  readonly descriptors: readonly number[]
  /** Of its writable buffers, in bytes. */
  readonly capacity: number
  readonly table: Buffer | undefined
}

/** What both ring formats do alike, seen from the driver: the book of requests that are on their way. */
export abstract class RequestRing<T> implements DriverRing<T> {
  abstract readonly placement: Placement
  abstract readonly free: number
  abstract readonly position: number
  /** By what the used ring will call them. */
  private readonly requests = new Map<number, Request<T>>()
  /** The same, in the order they were made available. */
  private readonly order: number[] = []
  /** Used requests that are known, and not yet taken. */
  private readonly known: { readonly id: number; readonly length: number | undefined }[] = []
  protected interrupts = true
  private readonly areas: Buffer[] = []

  constructor(
    protected readonly arena: Arena,
    protected readonly features: QueueFeatures,
  ) {}

  protected get view() {
    return this.arena.memory.view
  }
  /** Memory for the ring itself, until `release`. */
  protected claim(length: number, align?: number): number {
    const address = this.arena.allocate(length, align)
    this.areas.push({ address, length })
    return address
  }

  add(out: readonly Buffer[], room: readonly Buffer[], token: T): boolean {
    const buffers = [...out.map(buffer => ({ ...buffer, flags: 0 })), ...room.map(b => ({ ...b, flags: WRITE }))]
    if (buffers.length === 0) throw new RangeError('a request needs at least one buffer')
    const indirect = this.features.indirect && buffers.length > 1
    if ((indirect ? 1 : buffers.length) > this.free) return false
    const table = indirect ? this.table(buffers) : undefined
    const { id, descriptors } = this.offerChain(table ? [{ ...table, flags: INDIRECT }] : buffers)
    const capacity = room.reduce((sum, { length }) => sum + length, 0)
    this.requests.set(id, { token, descriptors, capacity, table })
    this.order.push(id)
    return true
  }

  private table(buffers: readonly FlaggedBuffer[]): Buffer {
    const length = buffers.length * Descriptor.size
    const address = this.arena.allocate(length)
    for (const [i, buffer] of buffers.entries()) this.tableEntry(address, i, buffer, i + 1 === buffers.length)
    return { address, length }
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
    if (request.table) this.arena.release(request.table.address, request.table.length)
    this.took(id, request.descriptors)
    if (this.features.eventIndex && this.interrupts) this.askForNext()
    return { token: request.token, length: length ?? request.capacity }
  }

  /** With IN_ORDER a used request may stand for all before it too, used to the full (§2.7.9, §2.8.9). */
  private learn() {
    const used = this.nextUsed()
    if (!used) return
    const before = this.features.inOrder ? this.order.slice(0, Math.max(0, this.order.indexOf(used.id))) : []
    this.known.push(...before.map(id => ({ id, length: undefined })), used)
  }

  detach(): T[] {
    const requests = this.order.splice(0).map(id => this.requests.get(id)!)
    for (const { table } of requests) if (table) this.arena.release(table.address, table.length)
    this.requests.clear()
    this.known.length = 0
    return requests.map(({ token }) => token)
  }
  release() {
    this.detach()
    for (const { address, length } of this.areas.splice(0)) this.arena.release(address, length)
  }

  enableInterrupts(): boolean {
    this.interrupts = true
    if (this.features.eventIndex) this.askForNext()
    else this.setInterrupts(true)
    return this.nextUsed() === undefined
  }
  disableInterrupts() {
    this.interrupts = false
    this.setInterrupts(false)
  }

  abstract needsKick(): boolean
  /** Writes a chain into the ring and makes it available; its descriptors are free. */
  protected abstract offerChain(buffers: readonly FlaggedBuffer[]): {
    readonly id: number
    readonly descriptors: readonly number[]
  }
  /** Writes one descriptor of an indirect table. */
  protected abstract tableEntry(table: number, index: number, buffer: FlaggedBuffer, last: boolean): void
  /** What the device has used next, and how many bytes it says it wrote; leaves it there. */
  protected abstract nextUsed(): { readonly id: number; readonly length: number } | undefined
  /** That request was taken: goes on behind it, and its descriptors are free again. */
  protected abstract took(id: number, descriptors: readonly number[]): void
  /** With EVENT_IDX: an interrupt for the next used request, please. */
  protected abstract askForNext(): void
  protected abstract setInterrupts(on: boolean): void
}
