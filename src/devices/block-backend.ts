/** Where the sectors of a disk live. Offsets and lengths are in bytes, always whole 512-byte sectors inside `capacity`. */
export interface BlockBackend {
  /** In bytes. May grow; `onResize` then tells the device. */
  readonly capacity: number
  /**
   * Fills `target` from `offset` on. A synchronous store does it within the call, straight into guest RAM, and returns
   * nothing: the guest then never waits. A store with `async: true` may return a promise; it is handed buffers of its own.
   * Fails with `BackendError`, thrown or rejected.
   */
  read(offset: number, target: Uint8Array): void | Promise<void>
  /** Without it the disk is read-only (`VIRTIO_BLK_F_RO`). A backend that answers with a promise owns `bytes` until then. */
  write?(offset: number, bytes: Uint8Array): void | Promise<void>
  /** All writes completed before this call last when it is done. Without it the disk promises nothing. */
  flush?(): void | Promise<void>
  /** These bytes are no longer needed: they may read as anything that was there or as zeroes. */
  discard?(offset: number, length: number): void | Promise<void>
  /** They read as zeroes afterwards. `mayUnmap`: their storage may be given back. */
  writeZeroes?(offset: number, length: number, mayUnmap: boolean): void | Promise<void>
  /** They cannot be recovered afterwards. */
  secureErase?(offset: number, length: number): void | Promise<void>
  /**
   * `true`: `read` may answer with a promise, and is then handed buffers that stay its own until it settles.
   * Absent or `false`: it always completes within the call.
   */
  readonly async?: boolean
  /** Preferred granularity of writes, in bytes (topology and discard alignment); 512 if absent. */
  readonly blockSize?: number
  /** At most 20 bytes of ASCII, for GET_ID. */
  readonly serial?: string
  /** Set by the device; a backend that grows calls it. */
  onResize?: () => void
  /** Lets go of handles and connections. Nothing is called after it. */
  close?(): void | Promise<void>
}
