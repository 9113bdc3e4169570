/** Many frames as two arrays: posting them one by one would take longer than making them. */

import type { Offload } from '../../src/net/checksum.ts'

export interface FrameBatch {
  readonly bytes: Uint8Array<ArrayBuffer>
  /** Four numbers for each frame: its length, and its offload's start, offset and segment (with ECN's bit); all 0 if it has none. */
  readonly table: Uint32Array<ArrayBuffer>
}
const COLUMNS = 4
const ECN = 0x10000

export function packFrames(frames: readonly (readonly [Uint8Array, Offload | undefined])[]): FrameBatch {
  const bytes = new Uint8Array(frames.reduce((sum, [frame]) => sum + frame.length, 0))
  const table = new Uint32Array(COLUMNS * frames.length)
  let at = 0
  frames.forEach(([frame, offload], index) => {
    bytes.set(frame, at)
    at += frame.length
    const { start = 0, offset = 0, segment = 0, ecn = false } = offload ?? {}
    table.set([frame.length, start, offset, segment | (ecn ? ECN : 0)], COLUMNS * index)
  })
  return { bytes, table }
}

/** The frames are views of the batch. */
export function* unpackFrames({ bytes, table }: FrameBatch): Generator<[Uint8Array, Offload | undefined]> {
  let at = 0
  for (let row = 0; row < table.length; row += COLUMNS) {
    const [length, start, offset, rest] = table.subarray(row, row + COLUMNS) as unknown as [
      number,
      number,
      number,
      number,
    ]
    const segment = rest & 0xffff
    const ecn = (rest & ECN) !== 0
    yield [
      bytes.subarray(at, (at += length)),
      start === 0 ? undefined : { start, offset, ...(segment && { segment }), ...(ecn && { ecn }) },
    ]
  }
}
