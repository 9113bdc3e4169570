import type { BlockBackend } from '../../src/devices/block-backend.ts'
import { BackendError } from '../../src/virtio/machine.ts'
import { BLOCK, BlockState, type BlockStore, LARGEST } from './block-store.ts'

const { ABSENT, ZERO, DATA } = BlockState

export interface OverlayOptions {
  /** In bytes; that of the base if absent. What lies past the base's end starts as zeroes. */
  readonly capacity?: number
  readonly serial?: string
  /** Told the new capacity before it counts, so that it lasts. */
  readonly onGrow?: (capacity: number) => void | Promise<void>
}

/**
 * A disk made of the blocks that were written (`store`) over what was there before (`base`, never written; zeroes if
 * absent). Copy-on-write at 4 KiB: a write of whole blocks reads nothing, one of less reads its block first.
 */
export class Overlay implements BlockBackend {
  readonly blockSize = BLOCK
  readonly async: boolean
  readonly serial: string | undefined
  onResize?: () => void
  private size: number
  /** Blocks whose old bytes are being fetched to be merged: later writes to them wait, so that none is overtaken. */
  private readonly merging = new Map<number, Promise<void>>()

  constructor(
    readonly store: BlockStore,
    readonly base: BlockBackend | undefined,
    private readonly options: OverlayOptions = {},
  ) {
    const size = options.capacity ?? base?.capacity
    if (size === undefined || size <= 0 || size % 512 !== 0)
      throw new RangeError(`a disk is whole sectors of 512 bytes, not ${size} bytes`)
    this.size = size
    this.async = (store.async || base?.async) ?? false
    this.serial = options.serial
  }

  get capacity() {
    return this.size
  }

  async grow(capacity: number) {
    checkGrowth(this.size, capacity)
    await this.options.onGrow?.(capacity)
    this.size = capacity
    this.onResize?.()
  }

  read(offset: number, target: Uint8Array): void | Promise<void> {
    const parts: Part[] = []
    this.eachRun(offset, target.length, (from, at, length, state) => {
      const piece = target.subarray(at, at + length)
      parts.push(() => (state === DATA ? this.store.read(from, piece) : this.readUnwritten(from, piece, state)))
      return true
    })
    return all(parts)
  }

  readNow(offset: number, target: Uint8Array): boolean {
    const { store, base } = this
    return this.eachRun(offset, target.length, (from, at, length, state) => {
      const piece = target.subarray(at, at + length)
      if (state === DATA && store.async) return store.readNow?.(from, piece) ?? false
      if (state === ABSENT && base?.async && from < base.capacity)
        return from + length <= base.capacity && (base.readNow?.(from, piece) ?? false)
      if (state === DATA) store.read(from, piece)
      else this.readUnwritten(from, piece, state)
      return true
    })
  }

  write(offset: number, bytes: Uint8Array): void | Promise<void> {
    const end = offset + bytes.length
    if (this.isMerging(offset, end)) {
      const copy = bytes.slice()
      return this.afterMerges(offset, end).then(() => this.write(offset, copy))
    }
    const from = Math.ceil(offset / BLOCK)
    const to = Math.floor(end / BLOCK)
    if (from > to) return this.merge(to, offset % BLOCK, bytes)
    const head = from * BLOCK - offset
    const tail = bytes.length - (end - to * BLOCK)
    const parts: Part[] = []
    if (head > 0) parts.push(() => this.merge(from - 1, BLOCK - head, bytes.subarray(0, head)))
    if (to > from) parts.push(() => this.store.write(from, bytes.subarray(head, tail)))
    if (tail < bytes.length) parts.push(() => this.merge(to, 0, bytes.subarray(tail)))
    return all(parts)
  }

  flush() {
    return this.store.flush()
  }

  /** Whole blocks are given back and read as zeroes; the rest stays as it is. */
  discard(offset: number, length: number): void | Promise<void> {
    const from = Math.ceil(offset / BLOCK)
    const to = this.lastBlockBefore(offset + length)
    if (to > from) return this.zero(from, to - from)
  }

  writeZeroes(offset: number, length: number): void | Promise<void> {
    const end = offset + length
    const from = Math.ceil(offset / BLOCK)
    const to = this.lastBlockBefore(end)
    if (to <= from) return this.write(offset, new Uint8Array(length))
    return all([
      () => this.zero(from, to - from),
      () => (from * BLOCK > offset ? this.write(offset, new Uint8Array(from * BLOCK - offset)) : undefined),
      () => (end > to * BLOCK ? this.write(to * BLOCK, new Uint8Array(end - to * BLOCK)) : undefined),
    ])
  }

  /** Bytes of its own that it takes up, without the base. */
  get occupied() {
    return this.store.occupied
  }

  /** Back to the base: everything ever written is forgotten. */
  reset() {
    return this.store.clear()
  }

  async close() {
    await Promise.allSettled(this.merging.values())
    await this.store.close()
    await this.base?.close?.()
  }

  /** Visits runs of blocks in one state; stops and says `false` when a visit does. */
  private eachRun(
    offset: number,
    length: number,
    visit: (from: number, at: number, length: number, state: number) => boolean,
  ): boolean {
    for (let at = 0; at < length; ) {
      const first = Math.floor((offset + at) / BLOCK)
      const state = this.store.state(first)
      let block = first + 1
      while (block * BLOCK < offset + length && this.store.state(block) === state) block++
      const take = Math.min(block * BLOCK - offset, length) - at
      if (!visit(offset + at, at, take, state)) return false
      at += take
    }
    return true
  }

  private readUnwritten(offset: number, target: Uint8Array, state: number): void | Promise<void> {
    const { base } = this
    const inBase = state === ZERO || !base ? 0 : Math.max(0, Math.min(target.length, base.capacity - offset))
    if (inBase < target.length) target.fill(0, inBase)
    if (inBase > 0) return base!.read(offset, target.subarray(0, inBase))
  }

  /** Writes less than a block. */
  private merge(block: number, from: number, bytes: Uint8Array): void | Promise<void> {
    const whole = new Uint8Array(BLOCK)
    const start = block * BLOCK
    const patch = bytes.slice()
    const old = this.read(start, whole.subarray(0, Math.min(BLOCK, this.size - start)))
    if (!old) {
      whole.set(patch, from)
      return this.store.write(block, whole)
    }
    const merged = old.then(() => {
      whole.set(patch, from)
      return this.store.write(block, whole)
    })
    const settled = merged.then(
      () => {},
      () => {},
    )
    this.merging.set(block, settled)
    settled.then(() => {
      if (this.merging.get(block) === settled) this.merging.delete(block)
    })
    return merged
  }

  private zero(block: number, count: number): void | Promise<void> {
    const [offset, end] = [block * BLOCK, (block + count) * BLOCK]
    if (this.isMerging(offset, end)) return this.afterMerges(offset, end).then(() => this.zero(block, count))
    const over = Math.max(0, Math.min(count, Math.ceil((this.base?.capacity ?? 0) / BLOCK) - block))
    return all([
      () => (over > 0 ? this.store.mark(block, over, ZERO) : undefined),
      () => (over < count ? this.store.mark(block + over, count - over, ABSENT) : undefined),
    ])
  }

  private isMerging(offset: number, end: number) {
    for (const block of this.merging.keys()) if (block * BLOCK < end && (block + 1) * BLOCK > offset) return true
    return false
  }

  private async afterMerges(offset: number, end: number) {
    for (const [block, merge] of [...this.merging]) if (block * BLOCK < end && (block + 1) * BLOCK > offset) await merge
  }

  private lastBlockBefore(end: number) {
    return end === this.size ? Math.ceil(end / BLOCK) : Math.floor(end / BLOCK)
  }
}

/** Both in bytes. Fails with `BackendError`. */
export function checkGrowth(from: number, to: number) {
  if (to > LARGEST) throw new BackendError(`a disk can have ${LARGEST / 2 ** 40} TiB at the most`)
  if (!(to >= from)) throw new BackendError(`a disk never shrinks: it has ${from} bytes, and ${to} would be less`)
  if (to % 512 !== 0) throw new BackendError(`a disk is whole sectors of 512 bytes, not ${to} bytes`)
}

type Part = () => void | Promise<void>

/** Begins all parts, and fails with the first failure only when nothing is under way any more. */
function all(parts: readonly Part[]): void | Promise<void> {
  const waits: Promise<void>[] = []
  const failures: unknown[] = []
  for (const part of parts)
    try {
      const wait = part()
      if (wait) waits.push(wait)
    } catch (error) {
      failures.push(error)
    }
  if (waits.length > 0)
    return Promise.allSettled(waits).then(results => {
      for (const result of results) if (result.status === 'rejected') failures.push(result.reason)
      if (failures.length > 0) throw failures[0]
    })
  if (failures.length > 0) throw failures[0]
}
