/** Compressed data that is damaged. */
export class DecompressError extends Error {
  override name = 'DecompressError'
}

/** Compressed data that may be sound, but uses what our decoder does not do. */
export class Unsupported extends Error {
  override name = 'Unsupported'
}
