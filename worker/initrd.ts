/** Unpacks an initramfs before the guest sees it: native code does it many times faster than the guest's. */

import { cpioEnd, isCpio } from '../src/boot/initramfs.ts'
import { compressionOf } from '../src/boot/recognise.ts'
import { DecompressError, decompress } from './decompress.ts'

/**
 * The same archives, no longer compressed; or `bytes` itself where that is not sure to be the same to the kernel:
 * a file system image, several compressed archives, a damaged one.
 */
export async function unpackInitrd(bytes: Uint8Array): Promise<Uint8Array> {
  const start = cpioEnd(bytes)
  if (start === undefined || start === bytes.length) return bytes
  const rest = bytes.subarray(start)
  if (!compressionOf(rest)) return bytes
  let unpacked: Uint8Array | null
  try {
    unpacked = await decompress(rest)
  } catch (reason) {
    if (reason instanceof DecompressError) return bytes
    throw reason
  }
  if (!unpacked || !isCpio(unpacked)) return bytes
  // The kernel looks for an archive's header at multiples of four.
  const padded = Math.ceil(start / 4) * 4
  if (start === 0) return unpacked
  const joined = new Uint8Array(padded + unpacked.length)
  joined.set(bytes.subarray(0, start))
  joined.set(unpacked, padded)
  return joined
}
