/** `.xz` files (The .xz File Format 1.2.1) of one stream, with the LZMA2 and x86 filters: what `xz --x86` makes for kernels. */

import { DecompressError, Unsupported } from './error.ts'
import { LzmaDecoder } from './lzma.ts'

const FILTER_X86 = 0x04
const FILTER_LZMA2 = 0x21
/** By check ID, in bytes. */
const checkSizes = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64]

const corrupt = (what: string) => new DecompressError(`the xz data is damaged: ${what}`)

/** Reads on through a file. */
class Cursor {
  constructor(
    readonly file: Uint8Array,
    public at: number,
  ) {}
  take(length: number): Uint8Array {
    if (this.at + length > this.file.length) throw corrupt('it is cut short')
    return this.file.subarray(this.at, (this.at += length))
  }
  byte(): number {
    return this.take(1)[0]!
  }
  u32(): number {
    const [a, b, c, d] = this.take(4)
    return (a! | (b! << 8) | (c! << 16) | (d! << 24)) >>> 0
  }
  /** A variable-length integer (1.2). */
  integer(): number {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = this.byte()
      value += (byte & 127) * scale
      if (byte < 128) return value
      if (scale > 2 ** 42) throw corrupt('a size in it is out of range')
    }
  }
  /** Takes the CRC32 over what was read since `start`. */
  verify(start: number) {
    const crc = crc32(this.file.subarray(start, this.at))
    if (this.u32() !== crc) throw corrupt('a header’s checksum is wrong')
  }
}

export async function decompressXz(file: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const cursor = new Cursor(file, 6)
  cursor.take(2)
  cursor.verify(6)
  const check = file[7]! & 15

  const { size, indexAt } = readIndex(file)
  const decoder = new LzmaDecoder(size)
  while (cursor.at < indexAt) await readBlock(cursor, decoder, check)
  if (decoder.position !== size) throw corrupt('its index does not match its contents')
  return decoder.output
}

/** The footer and the index before it say how much there is. */
function readIndex(file: Uint8Array): { size: number; indexAt: number } {
  const footerAt = file.length - 12
  if (footerAt < 12 || file[footerAt + 10] !== 0x59 || file[footerAt + 11] !== 0x5a)
    throw corrupt('it is cut short, or something follows it')
  const footer = new Cursor(file, footerAt)
  const crc = footer.u32()
  const backward = (footer.u32() + 1) * 4
  if (crc !== crc32(file.subarray(footerAt + 4, footerAt + 10))) throw corrupt('its footer’s checksum is wrong')
  const indexAt = footerAt - backward
  if (indexAt < 12 || file[indexAt] !== 0) throw corrupt('its index is not where it must be')

  const index = new Cursor(file, indexAt + 1)
  let size = 0
  let packed = 12
  for (let records = index.integer(); records > 0; records--) {
    packed += Math.ceil(index.integer() / 4) * 4
    size += index.integer()
  }
  while ((index.at - indexAt) % 4) index.byte()
  index.verify(indexAt)
  if (packed !== indexAt) throw new Unsupported('the xz file has several streams')
  if (size >= 2 ** 31) throw new Unsupported('the xz file unpacks to more than 2 GiB')
  return { size, indexAt }
}

async function readBlock(cursor: Cursor, decoder: LzmaDecoder, check: number) {
  const start = cursor.at
  const headerSize = (cursor.byte() + 1) * 4
  const flags = cursor.byte()
  if (flags & 0x40) cursor.integer()
  if (flags & 0x80) cursor.integer()
  let x86: number | undefined
  for (let i = 0; i <= (flags & 3); i++) {
    const id = cursor.integer()
    const properties = cursor.take(cursor.integer())
    if (id === FILTER_X86 && i < (flags & 3)) x86 = properties.length === 4 ? new Cursor(properties, 0).u32() : 0
    else if (id !== FILTER_LZMA2 || i !== (flags & 3))
      throw new Unsupported(`the xz file uses filter 0x${id.toString(16)}`)
  }
  cursor.take(start + headerSize - 4 - cursor.at)
  cursor.verify(start)

  const from = decoder.position
  readLzma2(cursor, decoder)
  const block = decoder.output.subarray(from, decoder.position)
  if (x86 !== undefined) undoX86(block, x86)

  while ((cursor.at - start) % 4) cursor.byte()
  const expected = cursor.take(checkSizes[check]!)
  const actual = await checksum(block, check)
  if (actual && !actual.every((byte, i) => byte === expected[i])) throw corrupt('its checksum is wrong')
}

/** Chunks, each raw or LZMA, each with what it resets. */
function readLzma2(cursor: Cursor, decoder: LzmaDecoder) {
  for (let control: number; (control = cursor.byte()) !== 0; ) {
    if (control === 1 || control >= 0xe0) decoder.resetDictionary()
    if (control < 0x80) {
      if (control > 2) throw corrupt('a chunk is of no known kind')
      const high = cursor.byte()
      decoder.copy(cursor.take(high * 256 + cursor.byte() + 1))
      continue
    }
    const [a, b, c, d] = cursor.take(4)
    const size = ((control & 0x1f) << 16) + (a! << 8) + b! + 1
    const packed = (c! << 8) + d! + 1
    if (control >= 0xc0) decoder.setProperties(cursor.byte())
    else if (control >= 0xa0) decoder.resetState()
    const end = decoder.position + size
    if (end > decoder.output.length) throw corrupt('it holds more than its index says')
    decoder.decode(cursor.take(packed), end)
    if (decoder.position !== end) throw corrupt('a chunk ends too early')
  }
}

/**
 * The packer made the targets of CALL and JMP absolute, so that equal targets look equal; this makes them relative again,
 * in place. It has to guess exactly as the packer did what is an instruction: an opcode byte whose operand's top byte is
 * 00 or FF, unless one of the three bytes before it was taken for an opcode in a way that makes this one doubtful.
 */
export function undoX86(code: Uint8Array, start = 0) {
  const signLike = (byte: number | undefined) => byte === 0 || byte === 0xff
  let last = -1
  /** Bit n: n + 1 bytes back stood an opcode byte that was left alone. */
  let doubt = 0
  for (let at = 0; at + 4 < code.length; at++) {
    if ((code[at]! & 0xfe) !== 0xe8) continue
    const distance = at - last
    last = at
    doubt = distance > 3 ? 0 : (doubt << (distance - 1)) & 7
    // The operand byte that the furthest doubtful opcode would have as its top byte.
    const shared = doubt === 0 ? 0 : doubt < 2 ? 1 : doubt < 4 ? 2 : 3
    const ruledOut = doubt === 3 || doubt > 4
    if ((doubt !== 0 && (ruledOut || signLike(code[at + 4 - shared]))) || !signLike(code[at + 4])) {
      doubt = (doubt << 1) | 1
      continue
    }
    const here = start + at + 5
    let target = code[at + 1]! | (code[at + 2]! << 8) | (code[at + 3]! << 16) | (code[at + 4]! << 24)
    let relative = (target - here) | 0
    while (doubt !== 0 && signLike((relative >>> (24 - shared * 8)) & 0xff)) {
      target = relative ^ (2 ** (32 - shared * 8) - 1)
      relative = (target - here) | 0
    }
    code[at + 1] = relative
    code[at + 2] = relative >> 8
    code[at + 3] = relative >> 16
    code[at + 4] = relative & (1 << 24) ? 0xff : 0
    at += 4
  }
}

async function checksum(bytes: Uint8Array<ArrayBuffer>, check: number): Promise<Uint8Array | undefined> {
  if (check === 1) return new Uint8Array(Uint32Array.of(crc32(bytes)).buffer)
  if (check === 4) return crc64(bytes)
  if (check === 10) return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  return undefined // none, or of a kind no packer makes
}

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) crc = (crc >>> 8) ^ crc32Table[(crc ^ byte) & 255]!
  return ~crc >>> 0
}
const crc32Table = Uint32Array.from({ length: 256 }, (_, crc) => {
  for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  return crc
})

/** ECMA-182, reflected, in halves. */
function crc64(bytes: Uint8Array): Uint8Array {
  let low = -1
  let high = -1
  for (const byte of bytes) {
    const index = ((low ^ byte) & 255) * 2
    low = ((low >>> 8) | (high << 24)) ^ crc64Table[index]!
    high = (high >>> 8) ^ crc64Table[index + 1]!
  }
  return new Uint8Array(Int32Array.of(~low, ~high).buffer)
}
const crc64Table = Int32Array.from({ length: 512 }, (_, i) => {
  let low = i >> 1
  let high = 0
  for (let n = 0; n < 8; n++) {
    const odd = low & 1
    low = ((low >>> 1) | (high << 31)) ^ (odd ? 0xd7870f42 : 0)
    high = (high >>> 1) ^ (odd ? 0xc96c5795 : 0)
  }
  return i & 1 ? high : low
})
