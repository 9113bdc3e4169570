/** Where the sectors of a disk live. Offsets and lengths are in bytes, always whole 512-byte sectors inside `capacity`. */
export interface BlockBackend {
  /** In bytes. May grow; `onResize` then tells the device. */
  readonly capacity: number
  /**
   * Fills `target` from `offset` on. A store that completes within the call (`async` absent) is handed guest RAM itself,
   * so that the guest never waits and bytes move once; one with `async: true` gets buffers of its own.
   * Fails with `BackendError`, thrown or rejected.
   */
  read(offset: number, target: Uint8Array): void | Promise<void>
  /**
   * For a store with `async: true` that may have the bytes at hand: fills `target`, a piece of guest RAM, within the
   * call, or says `false`; what `target` then holds does not matter, and `read` is called.
   */
  readNow?(offset: number, target: Uint8Array): boolean
  /**
   * Without it the disk is read-only (`VIRTIO_BLK_F_RO`). `bytes` is guest RAM, valid until the call returns: what is
   * needed later is copied. Reads that start after it is done see these bytes.
   */
  write?(offset: number, bytes: Uint8Array): void | Promise<void>
  /** All writes completed before this call last when it is done. Without it the disk promises nothing. */
  flush?(): void | Promise<void>
  /** These bytes are no longer needed: they may read as anything that was there or as zeroes. */
  discard?(offset: number, length: number): void | Promise<void>
  /** They read as zeroes afterwards. `mayUnmap`: their storage may be given back. */
  writeZeroes?(offset: number, length: number, mayUnmap: boolean): void | Promise<void>
  /** They cannot be recovered afterwards. */
  secureErase?(offset: number, length: number): void | Promise<void>
  /** Wear, in the words of §5.2.6 `virtio_blk_lifetime`. */
  lifetime?(): { readonly preEol: number; readonly typeA: number; readonly typeB: number }
  /** `true`: `read` may answer with a promise. */
  readonly async?: boolean
  /** Preferred granularity of writes, in bytes (topology and discard alignment); 512 if absent. */
  readonly blockSize?: number
  /** At most 20 bytes of ASCII, for GET_ID. */
  readonly serial?: string
  /** Makes it so many bytes, whole sectors; the new ones read as zeroes. It never shrinks. Fails with `BackendError`. */
  grow?(capacity: number): void | Promise<void>
  /** Set by the device; a backend that grows calls it. */
  onResize?: () => void
  /** Lets go of handles and connections. Nothing is called after it. */
  close?(): void | Promise<void>
}

/** A disk that lasts as long as this object. */
export class MemoryDisk implements BlockBackend {
  readonly blockSize = 4096
  onResize?: () => void
  constructor(
    private bytes: Uint8Array,
    readonly serial = 'memory',
  ) {
    if (bytes.length % 512 !== 0)
      throw new RangeError(`a disk is whole sectors of 512 bytes, not ${bytes.length} bytes`)
  }
  get capacity() {
    return this.bytes.length
  }
  read(offset: number, target: Uint8Array) {
    target.set(this.bytes.subarray(offset, offset + target.length))
  }
  write(offset: number, bytes: Uint8Array) {
    this.bytes.set(bytes, offset)
  }
  flush() {}
  discard(offset: number, length: number) {
    this.bytes.fill(0, offset, offset + length)
  }
  writeZeroes(offset: number, length: number) {
    this.bytes.fill(0, offset, offset + length)
  }
  secureErase(offset: number, length: number) {
    this.bytes.fill(0, offset, offset + length)
  }
  /** New sectors read as zeroes. A disk never shrinks under its guest. */
  grow(capacity: number) {
    if (capacity < this.capacity || capacity % 512 !== 0)
      throw new RangeError(`a disk of ${this.capacity} bytes cannot become ${capacity} bytes`)
    const bytes = new Uint8Array(capacity)
    bytes.set(this.bytes)
    this.bytes = bytes
    this.onResize?.()
  }
}
