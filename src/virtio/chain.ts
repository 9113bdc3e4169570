import type { Infer, Struct } from './layout.ts'
import { GuestError, type GuestMemory } from './machine.ts'
import type { Virtqueue } from './queue.ts'

/** A position in a list of buffers, as if they were one run of bytes (§2.7.4: no assumption about framing). */
class Cursor {
  /** All its bytes. */
  length = 0
  /** Bytes before the position. */
  at = 0
  private readonly addresses: number[] = []
  private readonly lengths: number[] = []
  private segment = 0
  private offset = 0

  constructor(protected readonly memory: GuestMemory) {}

  /** Bytes from the position on. */
  get left() {
    return this.length - this.at
  }

  /** Adds a buffer at the end. Only the queue that built the chain does this. */
  append(address: number, length: number) {
    this.addresses.push(address)
    this.lengths.push(length)
    this.length += length
  }

  /** Goes to a position counted from the first byte. */
  seek(position: number) {
    if (position < 0 || position > this.length) throw new GuestError('2.7.4', `chain has no byte ${position}`)
    this.at = position
    this.segment = 0
    this.offset = position
    while (this.segment < this.lengths.length && this.offset >= this.lengths[this.segment]!)
      this.offset -= this.lengths[this.segment++]!
  }

  skip(count: number) {
    this.need(count)
    this.seek(this.at + count)
  }

  /** Visits the next `count` bytes piece by piece, and moves past them. */
  protected each(count: number, visit: (address: number, length: number) => void) {
    this.need(count)
    while (count > 0) {
      const room = this.lengths[this.segment]! - this.offset
      const take = Math.min(room, count)
      visit(this.addresses[this.segment]! + this.offset, take)
      this.at += take
      count -= take
      if (take === room) {
        this.segment++
        this.offset = 0
      } else this.offset += take
    }
  }

  private need(count: number) {
    if (count < 0 || count > this.left) throw new GuestError('2.7.4', `chain is ${count - this.left} bytes short`)
  }
}

/** The part of a chain that the driver wrote; it comes first (§2.7.4.2). */
export class Reader extends Cursor {
  /** A copy of the next `count` bytes. */
  bytes(count = this.left): Uint8Array<ArrayBuffer> {
    if (count > this.left) this.skip(count) // refuse before allocating
    const copy = new Uint8Array(count)
    let filled = 0
    this.each(count, (address, length) => {
      copy.set(this.memory.slice(address, length), filled)
      filled += length
    })
    return copy
  }

  struct<S extends Struct>(layout: S): Infer<S> {
    return new layout(new DataView(this.bytes(layout.size).buffer)) as Infer<S>
  }

  /** Hands out the next `count` bytes in place, piece by piece: each is valid only within its call. */
  pieces(count: number, visit: (piece: Uint8Array<ArrayBuffer>) => void) {
    this.each(count, (address, length) => visit(this.memory.slice(address, length)))
  }
}

/** The part of a chain that the device fills. */
export class Writer extends Cursor {
  /** Bytes written without a gap from the first on: what the used length may claim (§2.7.8.2). */
  written = 0

  constructor(
    memory: GuestMemory,
    private readonly queue: Virtqueue,
    private readonly session: number,
  ) {
    super(memory)
  }

  /** After a reset the buffers are the driver's again: what is still written goes nowhere (§2.4.1). */
  private get live() {
    return this.queue.session === this.session
  }

  bytes(source: Uint8Array) {
    const start = this.at
    let sent = 0
    const { live } = this
    this.each(source.length, (address, length) => {
      if (live)
        this.memory.write(
          address,
          sent === 0 && length === source.length ? source : source.subarray(sent, sent + length),
        )
      sent += length
    })
    this.wrote(start)
  }

  struct<S extends Struct>(layout: S, value: Partial<Infer<S>>) {
    this.bytes(layout.bytes(value as never))
  }

  /** Lets the next `count` bytes be stored in place, piece by piece: each is valid only within its call. */
  pieces(count: number, fill: (piece: Uint8Array<ArrayBuffer>) => void) {
    const start = this.at
    const { live } = this
    this.each(count, (address, length) => fill(live ? this.memory.target(address, length) : new Uint8Array(length)))
    this.wrote(start)
  }

  private wrote(start: number) {
    if (start <= this.written && this.at > this.written) this.written = this.at
  }
}

/** One request: what the driver sent, room for the answer, and one chance to complete it. */
export class Chain {
  readonly reader: Reader
  readonly writer: Writer
  /** In order of completion: whether the device is done with it. */
  completed = false

  constructor(
    private readonly queue: Virtqueue,
    /** The queue's session it was taken in: after a reset it is a stranger there. */
    readonly session: number,
    memory: GuestMemory,
    /** Index of the first descriptor (split), or the buffer ID (packed). */
    public id: number,
    /** Descriptors of the ring it takes up. */
    public slots = 1,
  ) {
    this.reader = new Reader(memory)
    this.writer = new Writer(memory, queue, session)
  }

  /** Hands it back to the driver, with as many bytes as the writer wrote. After a reset this quietly does nothing. */
  complete() {
    if (this.completed) throw new Error('a chain was completed twice')
    this.completed = true
    this.queue.complete(this)
  }
}
