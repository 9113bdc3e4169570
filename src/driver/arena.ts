import type { GuestMemory } from '../virtio/machine.ts'

/** The driver's share of guest memory: what its kernel would get from `dma_alloc_coherent`. */
export class Arena {
  /** Free pieces in order of address: never adjacent, never empty. */
  private readonly free: { start: number; end: number }[]

  constructor(
    readonly memory: GuestMemory,
    readonly start: number,
    readonly end: number,
  ) {
    this.free = [{ start, end }]
  }

  /** Zeroed bytes; returns their address. */
  allocate(length: number, align = 16): number {
    for (const [i, piece] of this.free.entries()) {
      const start = Math.ceil(piece.start / align) * align
      if (start + length > piece.end) continue
      const rest = [
        { start: piece.start, end: start },
        { start: start + length, end: piece.end },
      ]
      this.free.splice(i, 1, ...rest.filter(({ start, end }) => end > start))
      this.memory.target(start, length).fill(0)
      return start
    }
    throw new RangeError(`the driver's memory has no ${length} bytes left`)
  }

  /** All of it is free again. */
  clear() {
    this.free.splice(0, this.free.length, { start: this.start, end: this.end })
  }

  release(start: number, length: number) {
    if (length === 0) return
    const i = this.free.findIndex(piece => piece.start >= start + length)
    const at = i < 0 ? this.free.length : i
    const [before, after] = [this.free[at - 1], this.free[at]]
    const joined = { start, end: start + length }
    const joinsBefore = before?.end === start
    const joinsAfter = after?.start === joined.end
    if (joinsBefore) joined.start = before!.start
    if (joinsAfter) joined.end = after!.end
    this.free.splice(at - Number(joinsBefore), Number(joinsBefore) + Number(joinsAfter), joined)
  }
}
