import type { Infer, Struct } from './layout.ts'
import { GuestError, type GuestMemory } from './machine.ts'
import type { Virtqueue } from './queue.ts'

/** A position in some of a chain's buffers, as if they were one run of bytes (§2.7.4: no assumption about framing). */
class Cursor {
  /** Bytes before the position. */
  at = 0
  /** All its bytes. */
  length = 0
  /** Where the piece that `step` moved past begins. */
  protected address = 0
  private first = 0
  private segment = 0
  private offset = 0

  constructor(protected readonly chain: Chain) {}

  /** Begins with this buffer, at its first byte. Only the chain does this. */
  start(first: number, length: number) {
    this.at = this.offset = 0
    this.first = this.segment = first
    this.length = length
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

  /** Moves past a piece of at most `count` bytes that lies in one buffer; returns its length. `need` comes first. */
  protected step(count: number): number {
    const room = this.chain.bufferLength(this.segment) - this.offset
    const take = Math.min(room, count)
    this.address = this.chain.bufferAddress(this.segment) + this.offset
    this.at += take
    if (take === room) {
      this.segment++
      this.offset = 0
    } else this.offset += take
    return take
  }

  protected need(count: number) {
    if (count < 0 || count > this.left) throw new GuestError('2.7.4', `chain is ${count - this.left} bytes short`)
  }
}

/** Where structures are copied to. Many share a block: to make one for each takes longer than all else about it. */
const copies = {
  block: new DataView(new ArrayBuffer(4096)),
  used: 0,
  /** Place for so many bytes, which nobody else will be given. */
  reserve(size: number): number {
    if (this.used + size > this.block.byteLength) {
      this.block = new DataView(new ArrayBuffer(Math.max(4096, size)))
      this.used = 0
    }
    const start = this.used
    this.used += size
    return start
  },
}

/** The part of a chain that the driver wrote; it comes first (§2.7.4.2). */
export class Reader extends Cursor {
  /** A copy of the next `count` bytes. */
  bytes(count = this.left): Uint8Array<ArrayBuffer> {
    this.need(count)
    const copy = new Uint8Array(count)
    for (let filled = 0; filled < count; ) {
      const length = this.step(count - filled)
      copy.set(this.chain.memory.slice(this.address, length), filled)
      filled += length
    }
    return copy
  }

  /** A copy of the next bytes, as this structure. */
  struct<S extends Struct>(layout: S): Infer<S> {
    const { size } = layout
    this.need(size)
    const { view } = this.chain.memory
    const start = copies.reserve(size)
    const { block } = copies
    for (let filled = 0; filled < size; ) {
      const length = this.step(size - filled)
      for (let i = 0; i < length; i++) block.setUint8(start + filled + i, view.getUint8(this.address + i))
      filled += length
    }
    return new layout(block, start) as Infer<S>
  }

  /** Hands out the next `count` bytes in place, piece by piece: each is valid only within its call. */
  pieces(count: number, visit: (piece: Uint8Array<ArrayBuffer>) => void) {
    this.need(count)
    for (let length = 0; count > 0; count -= length) {
      length = this.step(count)
      visit(this.chain.memory.slice(this.address, length))
    }
  }
}

/** The part of a chain that the device fills. */
export class Writer extends Cursor {
  bytes(source: Uint8Array) {
    const start = this.at
    const count = source.length
    this.need(count)
    const { live, memory } = this.chain
    for (let sent = 0; sent < count; ) {
      const length = this.step(count - sent)
      if (live) memory.write(this.address, length === count ? source : source.subarray(sent, sent + length))
      sent += length
    }
    this.wrote(start)
  }

  struct<S extends Struct>(layout: S, value: Partial<Infer<S>>) {
    this.bytes(layout.bytes(value as never))
  }

  /** Lets the next `count` bytes be stored in place, piece by piece: each is valid only within its call. */
  pieces(count: number, fill: (piece: Uint8Array<ArrayBuffer>) => void) {
    const start = this.at
    this.need(count)
    const { live, memory } = this.chain
    for (let length = 0; count > 0; count -= length) {
      length = this.step(count)
      fill(live ? memory.target(this.address, length) : new Uint8Array(length))
    }
    this.wrote(start)
  }

  private wrote(start: number) {
    const { chain, at } = this
    if (start <= chain.written && at > chain.written) chain.written = at
  }
}

/** No session at all. */
const COMPLETED = -1

/**
 * One request: what the driver sent, room for the answer, and one chance to complete it. Who completes it lets go of it:
 * the queue fills the same object with a later request.
 */
export class Chain {
  /** Index of the first descriptor (split), or the buffer ID (packed). */
  id = 0
  /** Descriptors of the ring it takes up. */
  slots = 0
  /** Bytes the driver sent, and bytes of room for the answer. */
  readable = 0
  writable = 0
  /** Bytes written without a gap from the first on: what the used length may claim (§2.7.8.2). */
  written = 0
  /** How many buffers it is made of; those with what the driver sent come first. */
  buffers = 0
  /** The queue's session it was taken in: after a reset it is a stranger there. */
  session = COMPLETED
  /** Address and length of each buffer. */
  private table = new Uint32Array(8)
  private readonly input = new Reader(this)
  private readonly output = new Writer(this)
  /** Whether these two are at this request. */
  private reading = false
  private writing = false

  constructor(
    private readonly queue: Virtqueue,
    readonly memory: GuestMemory,
  ) {}

  // ---- how a ring fills it ----

  /** Says where a buffer lies, in RAM. */
  set(index: number, address: number, length: number) {
    const at = 2 * index
    const table = at < this.table.length ? this.table : this.grow()
    table[at] = address
    table[at + 1] = length
  }

  private grow() {
    const table = new Uint32Array(2 * this.table.length)
    table.set(this.table)
    this.table = table
    return table
  }

  /** All its buffers are set: it is another request from now on. */
  fill(id: number, slots: number, buffers: number, readable: number, writable: number) {
    // Two buffers in RAM are never that long, and most chains have two.
    if (buffers > 2 && readable + writable > 2 ** 32) tooLong()
    this.id = id
    this.slots = slots
    this.buffers = buffers
    this.readable = readable
    this.writable = writable
    this.written = 0
    this.reading = this.writing = false
  }

  // ---- what the device has of it ----

  bufferAddress(index: number) {
    return this.table[2 * index]!
  }
  bufferLength(index: number) {
    return this.table[2 * index + 1]!
  }

  get reader(): Reader {
    if (!this.reading) {
      this.reading = true
      this.input.start(0, this.readable)
    }
    return this.input
  }
  get writer(): Writer {
    if (!this.writing) {
      this.writing = true
      let first = 0
      for (let before = this.readable; before > 0; ) before -= this.bufferLength(first++)
      this.output.start(first, this.writable)
    }
    return this.output
  }

  /** Whether the device is done with it. */
  get completed() {
    return this.session === COMPLETED
  }

  /** After a reset the buffers are the driver's again: what is still written goes nowhere (§2.4.1). */
  get live() {
    return this.queue.session === this.session
  }

  /** Hands it back to the driver, with as many bytes as the writer wrote. After a reset this quietly does nothing. */
  complete() {
    const { queue, session } = this
    if (session === COMPLETED) twice()
    this.session = COMPLETED
    if (session === queue.session) queue.complete(this)
  }
}

function tooLong(): never {
  throw new GuestError('2.7.5', 'the buffers of a chain are longer than 2^32 bytes')
}
function twice(): never {
  throw new Error('a chain was completed twice')
}
