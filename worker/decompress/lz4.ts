/** The legacy LZ4 frame, which is what the kernel takes: a magic number, then blocks of at most 8 MiB with their size before. */

import { DecompressError } from './error.ts'

const MAGIC = 0x184c2102
const BLOCK = 8 << 20

const corrupt = (what: string) => new DecompressError(`the lz4 data is damaged: ${what}`)

export function decompressLz4(file: Uint8Array): Uint8Array<ArrayBuffer> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const blocks: Uint8Array[] = []
  for (let at = 4; at < file.length; ) {
    if (at + 4 > file.length) throw corrupt('it is cut short')
    const size = view.getUint32(at, true)
    at += 4
    if (size === MAGIC) continue // another frame follows
    if (at + size > file.length) throw corrupt('it is cut short')
    blocks.push(decodeBlock(file.subarray(at, at + size)))
    at += size
  }
  const output = new Uint8Array(blocks.reduce((sum, block) => sum + block.length, 0))
  let position = 0
  for (const block of blocks) {
    output.set(block, position)
    position += block.length
  }
  return output
}

/** Literals, then a match, over and over; the last has no match. */
function decodeBlock(input: Uint8Array): Uint8Array {
  const output = new Uint8Array(Math.min(BLOCK, input.length * 255))
  let position = 0
  let at = 0
  const extend = (length: number) => {
    if (length < 15) return length
    let byte: number | undefined
    do {
      byte = input[at++]
      if (byte === undefined) throw corrupt('it is cut short')
      length += byte
    } while (byte === 255)
    return length
  }
  while (at < input.length) {
    const token = input[at++]!
    const literals = extend(token >> 4)
    if (at + literals > input.length) throw corrupt('it is cut short')
    if (position + literals > output.length) throw corrupt('a block is too long')
    output.set(input.subarray(at, at + literals), position)
    at += literals
    position += literals
    if (at === input.length) return output.subarray(0, position)

    if (at + 2 > input.length) throw corrupt('it is cut short')
    const distance = input[at]! | (input[at + 1]! << 8)
    at += 2
    const end = position + extend(token & 15) + 4
    if (distance === 0 || distance > position) throw corrupt('it refers to what is before its start')
    if (end > output.length) throw corrupt('a block is too long')
    for (let from = position - distance; position < end; ) output[position++] = output[from++]!
  }
  throw corrupt('a block does not end as it must')
}
