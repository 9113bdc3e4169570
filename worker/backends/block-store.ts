import { BackendError } from '../../src/virtio/machine.ts'

/** What a store keeps, and an overlay decides by: 4 KiB, a guest's page and its file system's block. */
export const BLOCK = 4096

/** The largest disk there can be, in bytes: as large as a description may make one. */
export const LARGEST = 2 ** 41

/** What a store knows of a block without asking anybody. */
export const BlockState = { ABSENT: 0, ZERO: 1, DATA: 2 } as const

/**
 * The 4 KiB blocks of a disk that were written, and nothing of those that were not.
 * `async` absent: everything is done within the call. Fails with `BackendError`, thrown or rejected.
 */
export interface BlockStore {
  readonly async?: boolean
  /** Bytes it takes up on its medium, roughly. */
  readonly occupied: number
  state(block: number): number
  /** Fills `target` from `offset` (bytes) on. Every block touched is in state DATA; one that ceases to be may read as anything. */
  read(offset: number, target: Uint8Array): void | Promise<void>
  /** The same within the call if all is at hand, or `false`. */
  readNow?(offset: number, target: Uint8Array): boolean
  /** Whole blocks. `bytes` is copied or used before the call returns; the new state counts from then on. */
  write(block: number, bytes: Uint8Array): void | Promise<void>
  /** From now on these blocks are in `state`, ABSENT or ZERO. */
  mark(block: number, count: number, state: number): void | Promise<void>
  /** What was written before lasts, all of it, when this is done. */
  flush(): void | Promise<void>
  /** Forgets every block at once, lastingly. */
  clear(): void | Promise<void>
  close(): void | Promise<void>
}

/** The store has no room. What could not be written can be tried again. */
export class StorageFullError extends BackendError {
  override name = 'StorageFullError'
}

/** Makes what a browser's storage throws into what a device understands. */
export function storageError(doing: string, cause: unknown): BackendError {
  if (cause instanceof BackendError) return cause
  const { name, message } = cause as { name?: string; message?: string }
  if (name === 'QuotaExceededError' || name === 'ENOSPC' || (cause as { code?: string }).code === 'ENOSPC')
    return new StorageFullError(
      `no room left for ${doing}: free storage of this site or of this computer and try again`,
    )
  return new BackendError(`the browser's storage failed at ${doing}: ${message || name || String(cause)}`, { cause })
}

/** A store that lasts as long as this object. */
export class MemoryStore implements BlockStore {
  private readonly blocks = new Map<number, Uint8Array | undefined>()
  get occupied() {
    let bytes = 0
    for (const block of this.blocks.values()) bytes += block?.length ?? 0
    return bytes
  }
  state(block: number) {
    if (!this.blocks.has(block)) return BlockState.ABSENT
    return this.blocks.get(block) ? BlockState.DATA : BlockState.ZERO
  }
  read(offset: number, target: Uint8Array) {
    for (const { block, from, at, length } of pieces(offset, target.length))
      target.set(this.blocks.get(block)!.subarray(from, from + length), at)
  }
  write(block: number, bytes: Uint8Array) {
    for (let at = 0; at < bytes.length; at += BLOCK) this.blocks.set(block++, bytes.slice(at, at + BLOCK))
  }
  mark(block: number, count: number, state: number) {
    for (const end = block + count; block < end; block++)
      if (state === BlockState.ZERO) this.blocks.set(block, undefined)
      else this.blocks.delete(block)
  }
  flush() {}
  clear() {
    this.blocks.clear()
  }
  close() {}
}

/** The blocks a run of bytes touches: `from` within the block, `at` within the run, `length` of both, in bytes. */
export function* pieces(offset: number, length: number) {
  for (let at = 0; at < length; ) {
    const block = Math.floor((offset + at) / BLOCK)
    const from = (offset + at) % BLOCK
    const take = Math.min(BLOCK - from, length - at)
    yield { block, from, at, length: take }
    at += take
  }
}
