import type { Infer, Struct } from './layout.ts'
import { GuestError, type GuestMemory } from './machine.ts'
import type { Virtqueue } from './queue.ts'

/** A position in some of a chain's buffers, as if they were one run of bytes (§2.7.4: no assumption about framing). */
class Cursor {
  /** Bytes before the position. */
  at = 0
  private segment: number
  private offset = 0

  constructor(
    protected readonly chain: Chain,
    /** The first of its buffers. */
    private readonly first: number,
    /** All its bytes. */
    readonly length: number,
  ) {
    this.segment = first
  }

  /** Bytes from the position on. */
  get left() {
    return this.length - this.at
  }

  /** Goes to a position counted from the first byte. */
  seek(position: number) {
    if (position < 0 || position > this.length) throw new GuestError('2.7.4', `chain has no byte ${position}`)
    const { chain } = this
    this.at = position
    this.segment = this.first
    this.offset = position
    while (this.segment < chain.buffers && this.offset >= chain.bufferLength(this.segment))
      this.offset -= chain.bufferLength(this.segment++)
  }

  skip(count: number) {
    this.need(count)
    this.seek(this.at + count)
  }

  /** Visits the next `count` bytes piece by piece, and moves past them. */
  protected each(count: number, visit: (address: number, length: number) => void) {
    this.need(count)
    while (count > 0) {
      const room = this.chain.bufferLength(this.segment) - this.offset
      const take = Math.min(room, count)
      visit(this.chain.bufferAddress(this.segment) + this.offset, take)
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
      copy.set(this.chain.memory.slice(address, length), filled)
      filled += length
    })
    return copy
  }

  struct<S extends Struct>(layout: S): Infer<S> {
    return new layout(new DataView(this.bytes(layout.size).buffer)) as Infer<S>
  }

  /** Hands out the next `count` bytes in place, piece by piece: each is valid only within its call. */
  pieces(count: number, visit: (piece: Uint8Array<ArrayBuffer>) => void) {
    this.each(count, (address, length) => visit(this.chain.memory.slice(address, length)))
  }
}

/** The part of a chain that the device fills. */
export class Writer extends Cursor {
  /** Bytes written without a gap from the first on: what the used length may claim (§2.7.8.2). */
  written = 0

  bytes(source: Uint8Array) {
    const start = this.at
    let sent = 0
    const { live, memory } = this.chain
    this.each(source.length, (address, length) => {
      if (live)
        memory.write(address, sent === 0 && length === source.length ? source : source.subarray(sent, sent + length))
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
    const { live, memory } = this.chain
    this.each(count, (address, length) => fill(live ? memory.target(address, length) : new Uint8Array(length)))
    this.wrote(start)
  }

  private wrote(start: number) {
    if (start <= this.written && this.at > this.written) this.written = this.at
  }
}

/** One request: what the driver sent, room for the answer, and one chance to complete it. */
export class Chain {
  /** Bytes the driver sent, and bytes of room for the answer. */
  readable = 0
  writable = 0
  /** How many buffers it is made of; those with what the driver sent come first. */
  buffers = 0
  /** Whether the device is done with it. */
  completed = false
  private readableBuffers = 0
  // Two buffers are what most chains have: they are kept without an array, and every further one in pairs of numbers.
  private address0 = 0
  private length0 = 0
  private address1 = 0
  private length1 = 0
  private more: number[] | undefined
  private input: Reader | undefined
  private output: Writer | undefined

  constructor(
    private readonly queue: Virtqueue,
    /** The queue's session it was taken in: after a reset it is a stranger there. */
    readonly session: number,
    readonly memory: GuestMemory,
    /** Index of the first descriptor (split), or the buffer ID (packed). */
    public id: number,
    /** Descriptors of the ring it takes up. */
    public slots = 1,
  ) {}

  /** Adds a buffer at the end. Only the ring it is read from does this. */
  append(address: number, length: number, writable: boolean) {
    const index = this.buffers++
    if (writable) this.writable += length
    else {
      this.readable += length
      this.readableBuffers++
    }
    if (index === 0) {
      this.address0 = address
      this.length0 = length
    } else if (index === 1) {
      this.address1 = address
      this.length1 = length
    } else if (this.more) this.more.push(address, length)
    else this.more = [address, length]
  }
  bufferAddress(index: number) {
    return index === 0 ? this.address0 : index === 1 ? this.address1 : this.more![2 * index - 4]!
  }
  bufferLength(index: number) {
    return index === 0 ? this.length0 : index === 1 ? this.length1 : this.more![2 * index - 3]!
  }

  get reader(): Reader {
    return (this.input ??= new Reader(this, 0, this.readable))
  }
  get writer(): Writer {
    return (this.output ??= new Writer(this, this.readableBuffers, this.writable))
  }
  /** What the used length says. */
  get written() {
    return this.output === undefined ? 0 : this.output.written
  }

  /** After a reset the buffers are the driver's again: what is still written goes nowhere (§2.4.1). */
  get live() {
    return this.queue.session === this.session
  }

  /** Hands it back to the driver, with as many bytes as the writer wrote. After a reset this quietly does nothing. */
  complete() {
    if (this.completed) throw new Error('a chain was completed twice')
    this.completed = true
    this.queue.complete(this)
  }
}
