import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  unwatchFile,
  watchFile,
  writeSync,
} from 'node:fs'
import { basename } from 'node:path'
import type { BlockBackend } from '../src/devices/block-backend.ts'
import { BackendError } from '../src/virtio/machine.ts'
import { storageError } from '../worker/backends/block-store.ts'
import type { ImageFile } from '../worker/backends/image-file.ts'
import type { SyncFile } from '../worker/backends/opfs.ts'

/**
 * A raw image on this computer, written in place. Everything completes within the call. Made longer while it is in use
 * (`truncate -s +1G disk.img`), it is a larger disk.
 */
export class FileDisk implements BlockBackend {
  capacity: number
  readonly serial: string
  onResize?: () => void
  private readonly fd: number
  write?: (offset: number, bytes: Uint8Array) => void
  writeZeroes?: (offset: number, length: number) => void
  flush?: () => void

  /** Fails with `BackendError`. */
  constructor(
    private readonly path: string,
    { readonly = false }: { readonly?: boolean } = {},
  ) {
    try {
      this.fd = openSync(path, readonly ? 'r' : 'r+')
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      throw new BackendError(
        code === 'ENOENT'
          ? `there is no disk image ${path}: make one with "truncate -s 1G ${path}"`
          : `${path} cannot be opened as a disk: ${message}`,
        { cause: error },
      )
    }
    const { size } = fstatSync(this.fd)
    this.capacity = size - (size % 512)
    if (this.capacity === 0) throw new BackendError(`${path} is no disk image: it has not even one sector of 512 bytes`)
    this.serial = basename(path).slice(0, 20)
    if (readonly) return
    watchFile(path, { interval: 500, persistent: false }, this.look)
    this.write = (offset, bytes) => this.put(offset, bytes)
    this.writeZeroes = (offset, length) => {
      const zeroes = new Uint8Array(Math.min(length, 2 ** 20))
      for (let at = 0; at < length; at += zeroes.length)
        this.put(offset + at, zeroes.subarray(0, Math.min(zeroes.length, length - at)))
    }
    this.flush = () => this.attempt('flushing the disk image', () => fdatasyncSync(this.fd))
  }

  read(offset: number, target: Uint8Array) {
    const got = this.attempt('reading the disk image', () => readSync(this.fd, target, 0, target.length, offset))
    if (got !== target.length)
      throw new BackendError(`the disk image was cut short while in use: ${got} bytes at ${offset}`)
  }

  close() {
    unwatchFile(this.path, this.look)
    closeSync(this.fd)
  }

  private readonly look = () => {
    const { size } = fstatSync(this.fd)
    if (size - (size % 512) <= this.capacity) return // a guest would not stand a disk that shrinks
    this.capacity = size - (size % 512)
    this.onResize?.()
  }

  private put(offset: number, bytes: Uint8Array) {
    for (let at = 0; at < bytes.length; )
      at += this.attempt('writing the disk image', () => writeSync(this.fd, bytes, at, bytes.length - at, offset + at))
  }

  private attempt<T>(doing: string, work: () => T): T {
    try {
      return work()
    } catch (error) {
      throw storageError(doing, error)
    }
  }
}

/** A file of an overlay in a folder on this computer, as OPFS has them in a browser. */
export function syncFile(path: string): SyncFile {
  const fd = openSync(path, 'a+')
  closeSync(fd)
  const file = openSync(path, 'r+')
  return {
    read: (target, { at }) => readSync(file, target, 0, target.length, at),
    write: (bytes, { at }) => writeSync(file, bytes, 0, bytes.length, at),
    truncate: size => ftruncateSync(file, size),
    getSize: () => fstatSync(file).size,
    flush: () => fdatasyncSync(file),
    close: () => closeSync(file),
  }
}

/** An image on this computer, to be read or imported. */
export function imageFile(path: string): ImageFile & { close(): void } {
  const fd = openSync(path, 'r')
  return {
    name: basename(path),
    size: fstatSync(fd).size,
    read(from, to) {
      const bytes = new Uint8Array(to - from)
      return bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, from))
    },
    close: () => closeSync(fd),
  }
}
