/**
 * LZMA, as `.lzma` files and, in chunks, `.xz` files use it. The package registry has no decoder under a permissive
 * licence that runs in browsers and in Node and undoes the x86 filter that kernels are packed with, hence ours.
 * It decodes into one buffer, which is the dictionary too.
 */

import { DecompressError } from './error.ts'

// Where each kind of probability starts in the one table, by the names of the LZMA specification.
const IS_MATCH = 0
const IS_REP = IS_MATCH + (12 << 4)
const IS_REP_G0 = IS_REP + 12
const IS_REP_G1 = IS_REP_G0 + 12
const IS_REP_G2 = IS_REP_G1 + 12
const IS_REP0_LONG = IS_REP_G2 + 12
const POS_SLOT = IS_REP0_LONG + (12 << 4)
const POS_DECODERS = POS_SLOT + (4 << 6)
const ALIGN = POS_DECODERS + 128
const LENGTH = ALIGN + 16
const REP_LENGTH = LENGTH + 2 + (16 << 3) * 2 + 256
const LITERAL = REP_LENGTH + 2 + (16 << 3) * 2 + 256

const HALF = 1 << 10
const LONGEST_MATCH = 273

const corrupt = (what: string) => new DecompressError(`the compressed data is damaged: ${what}`)

export class LzmaDecoder {
  /** What is decoded so far is in its first `position` bytes. */
  output: Uint8Array<ArrayBuffer>
  position = 0
  #dictionary = 0
  #probabilities = new Uint16Array(LITERAL)
  #literalContext = 0
  #literalPosition = 0
  #positionMask = 0
  #state = 0
  #reps = [0, 0, 0, 0] as [number, number, number, number]

  /** `size` is what to expect; the output grows past it if `decode` is allowed to. */
  constructor(size: number) {
    this.output = new Uint8Array(size)
  }

  /** The properties byte of either format. Resets the state. */
  setProperties(byte: number) {
    if (byte >= 9 * 5 * 5) throw corrupt('its properties are out of range')
    this.#literalContext = byte % 9
    this.#literalPosition = Math.floor(byte / 9) % 5
    this.#positionMask = (1 << Math.floor(byte / 45)) - 1
    const size = LITERAL + (0x300 << (this.#literalContext + this.#literalPosition))
    if (this.#probabilities.length !== size) this.#probabilities = new Uint16Array(size)
    this.resetState()
  }

  resetState() {
    this.#probabilities.fill(HALF)
    this.#state = 0
    this.#reps = [0, 0, 0, 0]
  }

  /** Matches reach no further back than here. */
  resetDictionary() {
    this.#dictionary = this.position
  }

  /** Takes bytes that are not compressed. */
  copy(bytes: Uint8Array) {
    this.#reserve(bytes.length)
    this.output.set(bytes, this.position)
    this.position += bytes.length
  }

  #reserve(length: number) {
    if (this.position + length <= this.output.length) return
    const grown = new Uint8Array(Math.max(this.output.length * 2, this.position + length))
    grown.set(this.output.subarray(0, this.position))
    this.output = grown
  }

  /**
   * Decodes `input` until `limit` bytes of output are there, or to the end marker if there is one.
   * Fails with `DecompressError` if the input ends before.
   */
  decode(input: Uint8Array, limit: number): void {
    if (input.length < 5 || input[0] !== 0) throw corrupt('a stream of it does not start as it must')
    let at = 5
    // Range and code: in a typed array, because these 32-bit values would be boxed as plain variables of a closure.
    const coder = Uint32Array.of(
      0xffffffff,
      new DataView(input.buffer, input.byteOffset).getUint32(1), // big-endian
    )
    const probabilities = this.#probabilities

    const bit = (index: number): number => {
      let range = coder[0]!
      let code = coder[1]!
      const probability = probabilities[index]!
      const bound = (range >>> 11) * probability
      let symbol = 0
      if (code < bound) {
        range = bound
        probabilities[index] = probability + ((2048 - probability) >>> 5)
      } else {
        range -= bound
        code -= bound
        probabilities[index] = probability - (probability >>> 5)
        symbol = 1
      }
      if (range < 0x1000000) {
        range = (range << 8) >>> 0
        code = ((code << 8) | (at < input.length ? input[at]! : 0)) >>> 0
        at++
      }
      coder[0] = range
      coder[1] = code
      return symbol
    }
    const directBits = (count: number): number => {
      let value = 0
      let range = coder[0]!
      let code = coder[1]!
      for (let i = 0; i < count; i++) {
        range >>>= 1
        const one = code >= range ? 1 : 0
        if (one) code -= range
        value = value * 2 + one
        if (range < 0x1000000) {
          range = (range << 8) >>> 0
          code = ((code << 8) | (at < input.length ? input[at]! : 0)) >>> 0
          at++
        }
      }
      coder[0] = range
      coder[1] = code
      return value
    }
    // `bit` written out, with its variables kept local: nearly all the time goes here.
    const tree = (base: number, end: number, symbol = 1): number => {
      let range = coder[0]!
      let code = coder[1]!
      while (symbol < end) {
        const index = base + symbol
        const probability = probabilities[index]!
        const bound = (range >>> 11) * probability
        if (code < bound) {
          range = bound
          probabilities[index] = probability + ((2048 - probability) >>> 5)
          symbol <<= 1
        } else {
          range -= bound
          code -= bound
          probabilities[index] = probability - (probability >>> 5)
          symbol = (symbol << 1) | 1
        }
        if (range < 0x1000000) {
          range = (range << 8) >>> 0
          code = ((code << 8) | (at < input.length ? input[at]! : 0)) >>> 0
          at++
        }
      }
      coder[0] = range
      coder[1] = code
      return symbol - end
    }
    const reverseTree = (base: number, bits: number): number => {
      let symbol = 1
      let value = 0
      for (let i = 0; i < bits; i++) {
        const b = bit(base + symbol)
        symbol = (symbol << 1) | b
        value |= b << i
      }
      return value
    }
    const matchLength = (base: number, positionState: number): number => {
      if (!bit(base)) return 2 + tree(base + 2 + (positionState << 3), 8)
      if (!bit(base + 1)) return 10 + tree(base + 2 + (16 << 3) + (positionState << 3), 8)
      return 18 + tree(base + 2 + (16 << 3) * 2, 256)
    }
    const matchDistance = (length: number): number => {
      const slot = tree(POS_SLOT + (Math.min(length - 2, 3) << 6), 64)
      if (slot < 4) return slot
      const bits = (slot >> 1) - 1
      const high = (2 | (slot & 1)) * 2 ** bits
      if (slot < 14) return high + reverseTree(POS_DECODERS + high - slot, bits)
      return high + directBits(bits - 4) * 16 + reverseTree(ALIGN, 4)
    }

    const { output: fixed } = this
    const literalContext = this.#literalContext
    const literalMask = (1 << this.#literalPosition) - 1
    const positionMask = this.#positionMask
    const dictionary = this.#dictionary
    let output = fixed
    let position = this.position
    let state = this.#state
    let [rep0, rep1, rep2, rep3] = this.#reps

    while (position < limit) {
      if (at > input.length) throw corrupt('it is cut short')
      if (position + LONGEST_MATCH > output.length && output.length < limit) {
        this.position = position
        this.#reserve(LONGEST_MATCH)
        output = this.output
      }
      // Positions count from the start of the dictionary: `.xz` resets both together.
      const since = position - dictionary
      const positionState = since & positionMask
      if (!bit(IS_MATCH + (state << 4) + positionState)) {
        const previous = since > 0 ? output[position - 1]! : 0
        const context = ((since & literalMask) << literalContext) + (previous >> (8 - literalContext))
        const base = LITERAL + 0x300 * context
        let symbol = 1
        if (state >= 7) {
          let match = output[position - rep0 - 1]!
          do {
            match <<= 1
            const matchBit = match & 0x100
            const b = bit(base + 0x100 + matchBit + symbol)
            symbol = (symbol << 1) | b
            if (matchBit >> 8 !== b) break
          } while (symbol < 0x100)
        }
        output[position++] = tree(base, 0x100, symbol)
        state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6
        continue
      }

      let length: number
      if (bit(IS_REP + state)) {
        if (since === 0) throw corrupt('it refers to what is before its start')
        if (!bit(IS_REP_G0 + state)) {
          if (!bit(IS_REP0_LONG + (state << 4) + positionState)) {
            state = state < 7 ? 9 : 11
            if (rep0 >= since) throw corrupt('it refers to what is before its start')
            output[position] = output[position - rep0 - 1]!
            position++
            continue
          }
        } else {
          let distance = rep1
          if (bit(IS_REP_G1 + state)) {
            distance = rep2
            if (bit(IS_REP_G2 + state)) {
              distance = rep3
              rep3 = rep2
            }
            rep2 = rep1
          }
          rep1 = rep0
          rep0 = distance
        }
        length = matchLength(REP_LENGTH, positionState)
        state = state < 7 ? 8 : 11
      } else {
        rep3 = rep2
        rep2 = rep1
        rep1 = rep0
        length = matchLength(LENGTH, positionState)
        state = state < 7 ? 7 : 10
        rep0 = matchDistance(length)
        if (rep0 === 0xffffffff) break // the end marker
      }
      if (rep0 >= since) throw corrupt('it refers to what is before its start')
      if (position + length > limit) throw corrupt('it holds more than it says')
      for (let from = position - rep0 - 1, end = position + length; position < end; )
        output[position++] = output[from++]!
    }
    if (at > input.length) throw corrupt('it is cut short')
    this.position = position
    this.#state = state
    this.#reps = [rep0, rep1, rep2, rep3]
  }
}

/** A `.lzma` file: properties, dictionary size, size or -1, one stream. `size`: what to expect where it does not say. */
export function decompressLzma(file: Uint8Array, size?: number): Uint8Array<ArrayBuffer> {
  if (file.length < 18) throw corrupt('it is cut short')
  const view = new DataView(file.buffer, file.byteOffset)
  const [low, high] = [view.getUint32(5, true), view.getUint32(9, true)]
  const known = high === 0 ? low : undefined
  if (known === undefined && (high !== 0xffffffff || low !== 0xffffffff)) throw corrupt('its size is out of range')
  const decoder = new LzmaDecoder(known ?? size ?? file.length * 4)
  decoder.setProperties(file[0]!)
  decoder.decode(file.subarray(13), known ?? Number.MAX_SAFE_INTEGER)
  if (known !== undefined && decoder.position !== known) throw corrupt('it holds less than it says')
  return decoder.output.subarray(0, decoder.position)
}
