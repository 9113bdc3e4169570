/** An initramfs: cpio archives one after another, each compressed or not (Linux: driver-api/early-userspace/buffer-format). */

const NEWC = /^07070[12]$/
const HEADER = 110

const ascii = (bytes: Uint8Array, at: number, length: number) => String.fromCharCode(...bytes.subarray(at, at + length))

export const isCpio = (bytes: Uint8Array, at = 0): boolean => NEWC.test(ascii(bytes, at, 6))

/**
 * Where the uncompressed archives at the start end and something else, not zero padding, follows; 0 if none is there,
 * the whole length if nothing follows. Undefined if an archive is damaged: the kernel shall say so.
 */
export function cpioEnd(bytes: Uint8Array): number | undefined {
  let at = 0
  while (isCpio(bytes, at)) {
    for (let last = false; !last; ) {
      if (!isCpio(bytes, at)) return undefined
      const size = Number.parseInt(ascii(bytes, at + 54, 8), 16)
      const nameSize = Number.parseInt(ascii(bytes, at + 94, 8), 16)
      last = nameSize === 11 && ascii(bytes, at + HEADER, 10) === 'TRAILER!!!'
      at = align(align(at + HEADER + nameSize) + size)
      if (!(at <= bytes.length + 3)) return undefined
    }
    while (at < bytes.length && bytes[at] === 0) at++
  }
  return Math.min(at, bytes.length)
}

const align = (at: number) => (at + 3) & ~3
