/** A CD, read-only. A read fails by throwing or rejecting. */
export interface CdImage {
  /** In bytes. */
  readonly capacity: number
  read(offset: number, target: Uint8Array): void | Promise<void>
}

/** What v86 wants of a disk image. Bytes always come later, so that no interrupt is raised inside an instruction. */
export function cdBuffer(image: CdImage, unreadable: (error: unknown) => void) {
  return {
    byteLength: image.capacity,
    onload: undefined as ((event: object) => void) | undefined,
    load() {
      this.onload?.({})
    },
    async get(start: number, length: number, done: (bytes: Uint8Array) => void) {
      const bytes = new Uint8Array(length)
      try {
        await image.read(start, bytes)
        done(bytes)
      } catch (error) {
        unreadable(error)
      }
    },
    set() {},
  }
}
