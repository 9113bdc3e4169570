/** Compressed data that cannot be unpacked. */
export class DecompressError extends Error {
  override name = 'DecompressError'
}
