/** Unpacking of what kernels and initrds are compressed with. Each decoder is loaded when it is first needed. */

import { type Compression, compressionOf } from '../src/boot/recognise.ts'
import { DecompressError, Unsupported } from './decompress/error.ts'

export { DecompressError }

type Bytes = Uint8Array<ArrayBuffer>
/** `size` is that of the result, where it is known. */
type Decoder = (bytes: Uint8Array, size?: number) => Bytes | Promise<Bytes>

/** bzip2 and lzo are left to the guest: hardly any kernel is packed with them. */
const decoders: Partial<Record<Compression, () => Promise<Decoder>>> = {
  gzip: async () => gunzip,
  zstd: async () => {
    const { ZSTDDecoder } = await import('zstddec/stream')
    const decoder = new ZSTDDecoder()
    await decoder.init() // one instance of the wasm module, however often
    return (bytes, size) => unzstd(decoder.decodeStreaming([bytes]), size)
  },
  xz: async () => (await import('./decompress/xz.ts')).decompressXz,
  lzma: async () => (await import('./decompress/lzma.ts')).decompressLzma,
  lz4: async () => (await import('./decompress/lz4.ts')).decompressLz4,
}

/**
 * The unpacked bytes; null if they are not compressed, or in a way that is left to the guest.
 * Fails with `DecompressError` if they are damaged, or if `size` is given and they unpack to another.
 */
export async function decompress(bytes: Uint8Array, size?: number): Promise<Bytes | null> {
  const compression = compressionOf(bytes)
  const decoder = compression && (await decoders[compression]?.())
  if (!decoder) return null
  let result: Bytes
  try {
    result = await decoder(bytes, size)
  } catch (reason) {
    if (reason instanceof Unsupported) return null
    throw reason
  }
  if (size !== undefined && result.length !== size)
    throw new DecompressError(`the ${compression} data unpacks to ${result.length} bytes instead of ${size}`)
  return result
}

/** As the kernel's build packs itself: its unpacked size follows in four bytes, which only gzip has inside its format. */
export function decompressPayload(payload: Uint8Array): Promise<Bytes | null> {
  const end = payload.length - 4
  const size = new DataView(payload.buffer, payload.byteOffset).getUint32(end, true)
  return decompress(compressionOf(payload) === 'gzip' ? payload : payload.subarray(0, end), size)
}

async function gunzip(bytes: Uint8Array, size?: number): Promise<Bytes> {
  const { writable, readable } = new DecompressionStream('gzip')
  const writer = writable.getWriter()
  // The reader gets the same failure, with the same reason.
  const written = writer.write(bytes as Bytes).then(() => writer.close())
  written.catch(() => {})
  const output = new Collector(size)
  try {
    for (const reader = readable.getReader(); ; ) {
      const { done, value } = await reader.read()
      if (done) return output.result()
      output.add(value)
    }
  } catch (reason) {
    throw new DecompressError('the gzip data is damaged or cut short', { cause: reason })
  }
}

/** More steps in a row than any sound file makes the decoder take without a byte coming out. */
const IDLE_STEPS = 64

function unzstd(pieces: Iterable<Uint8Array>, size?: number): Bytes {
  const output = new Collector(size)
  let idle = 0
  try {
    for (const piece of pieces) {
      // At an error zstddec neither advances nor says so: it would go on like this for ever.
      if (piece.length > 0) idle = 0
      else if (++idle > IDLE_STEPS) throw new Error('it cannot be decoded')
      output.add(piece)
    }
  } catch (reason) {
    throw new DecompressError('the zstd data is damaged or cut short', { cause: reason })
  }
  return output.result()
}

/** Puts pieces together, without copying twice where the size is known. */
class Collector {
  #bytes: Bytes
  #length = 0
  constructor(size = 1 << 20) {
    this.#bytes = new Uint8Array(size)
  }
  add(piece: Uint8Array) {
    const length = this.#length + piece.length
    if (length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(length, this.#bytes.length * 2))
      grown.set(this.#bytes.subarray(0, this.#length))
      this.#bytes = grown
    }
    this.#bytes.set(piece, this.#length)
    this.#length = length
  }
  result(): Bytes {
    return this.#bytes.subarray(0, this.#length)
  }
}
