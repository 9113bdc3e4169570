/** RFC 8878 §3.1.1: the bytes of the frame that `bytes` begins with, whatever follows it; undefined if it is not whole. */
export function zstdFrame(bytes: Uint8Array): Uint8Array | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  if (bytes.length < 5 || view.getUint32(0, true) !== 0xfd2fb528) return undefined
  const descriptor = bytes[4]!
  const singleSegment = (descriptor >> 5) & 1
  const contentSize = [singleSegment, 2, 4, 8][descriptor >> 6]!
  const dictionary = [0, 1, 2, 4][descriptor & 3]!
  let at = 5 + (1 - singleSegment) + dictionary + contentSize
  for (let last = 0; !last; ) {
    if (at + 3 > bytes.length) return undefined
    const header = view.getUint16(at, true) | (bytes[at + 2]! << 16)
    last = header & 1
    const runLength = ((header >> 1) & 3) === 1
    at += 3 + (runLength ? 1 : header >> 3)
  }
  if (descriptor & 4) at += 4 // a checksum
  return at <= bytes.length ? bytes.subarray(0, at) : undefined
}
