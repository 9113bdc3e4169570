import type { BlockBackend } from '../../src/devices/block-backend.ts'
import { BackendError } from '../../src/virtio/machine.ts'

/** A raw image the user picked or dropped, read where it lies. */
export class BlobDisk implements BlockBackend {
  readonly async = true
  readonly blockSize = 4096
  readonly capacity: number

  constructor(
    private readonly file: Blob,
    readonly name: string,
  ) {
    this.capacity = file.size - (file.size % 512)
    if (this.capacity === 0) throw new BackendError(`${name} is no disk image: it has not even one sector of 512 bytes`)
  }

  async read(offset: number, target: Uint8Array) {
    let bytes: ArrayBuffer
    try {
      bytes = await this.file.slice(offset, offset + target.length).arrayBuffer()
    } catch (cause) {
      throw new BackendError(`${this.name} cannot be read any more: it was moved or changed`, { cause })
    }
    if (bytes.byteLength !== target.length) throw new BackendError(`${this.name} was cut short while in use`)
    target.set(new Uint8Array(bytes))
  }
}
