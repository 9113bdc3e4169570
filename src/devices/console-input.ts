/** Bytes on their way to the guest: first in, first out, bounded. */
export class InputBuffer {
  /** Bytes held. */
  length = 0
  /** Bytes that found no room, ever. */
  dropped = 0
  private readonly pieces: Uint8Array[] = []

  constructor(readonly limit: number) {}

  /** Keeps a copy of what fits; returns how many bytes at the end did not. */
  add(bytes: Uint8Array): number {
    const fits = Math.min(bytes.length, this.limit - this.length)
    if (fits > 0) this.pieces.push(bytes.slice(0, fits))
    this.length += fits
    this.dropped += bytes.length - fits
    return bytes.length - fits
  }

  /** Fills `target`, which must not be longer than what is held. */
  take(target: Uint8Array) {
    this.length -= target.length
    for (let filled = 0; filled < target.length; ) {
      const piece = this.pieces[0]!
      const count = Math.min(piece.length, target.length - filled)
      target.set(piece.subarray(0, count), filled)
      filled += count
      if (count === piece.length) this.pieces.shift()
      else this.pieces[0] = piece.subarray(count)
    }
  }
}
