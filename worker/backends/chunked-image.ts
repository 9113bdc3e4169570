import * as v from 'valibot'
import { ZSTDDecoder } from 'zstddec'
import { BackendError } from '../../src/virtio/machine.ts'
import { ChunkReader, type ChunkReaderOptions, type ChunkSource } from './chunk-reader.ts'
import { getFile, type HttpOptions } from './http.ts'

const hash = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 in lower-case hexadecimal'))
const count = v.pipe(v.number(), v.integer(), v.minValue(0))

/** `manifest.json` of a chunked image; its chunks lie beside it as `chunks/ab/ab….zst`, by the SHA-256 of what is in them. */
export const manifestSchema = v.pipe(
  v.object({
    format: v.literal('ringlet-chunks'),
    version: v.literal(1),
    /** Of the image, in bytes. */
    size: v.pipe(count, v.minValue(512), v.multipleOf(512)),
    /** In bytes. */
    chunkSize: v.pipe(
      count,
      v.minValue(4096),
      v.maxValue(4 * 2 ** 20),
      v.check(size => (size & (size - 1)) === 0, 'must be a power of two'),
    ),
    /** One for each chunk of the image, in order; `null` is a chunk of zeroes. */
    chunks: v.array(v.nullable(hash)),
    /** Chunks a boot reads, in its order. */
    prefetch: v.optional(v.array(count)),
  }),
  v.check(
    ({ size, chunkSize, chunks }) => chunks.length === Math.ceil(size / chunkSize),
    'the number of chunks does not fit the size',
  ),
)
export type Manifest = v.InferOutput<typeof manifestSchema>

export const chunkPath = (hash: string) => `chunks/${hash.slice(0, 2)}/${hash}.zst`

/** Compressed chunks that were fetched before, by the hash of what is in them. A cache may forget at any time. */
export interface ChunkCache {
  get(hash: string): Promise<Uint8Array<ArrayBuffer> | undefined>
  /** Never fails: what cannot be kept is not kept. */
  put(hash: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>
  remove(hash: string): Promise<void>
}

export type ChunkedImageOptions = HttpOptions & ChunkReaderOptions & { readonly cache?: ChunkCache | undefined }

/** A chunked image by the URL of its manifest. Read-only; fails with `BackendError`. */
export async function openChunkedImage(url: string, options: ChunkedImageOptions = {}) {
  const manifest = parseManifest(url, await getFile(url, options))
  const source = new ChunkedImage(manifest, new URL('.', url).href, options)
  const disk = new ChunkReader(source, { prefetch: manifest.prefetch ?? [], ...options })
  return { disk, source, manifest, id: await imageId(manifest) }
}

export function parseManifest(url: string, bytes: Uint8Array): Manifest {
  let document: unknown
  try {
    document = JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    throw new BackendError(`${url} is not the manifest of a chunked image: it is not JSON`)
  }
  const result = v.safeParse(manifestSchema, document)
  if (result.success) return result.output
  const { path, message } = result.issues[0]
  throw new BackendError(
    `${url} is not a good manifest: ${path ? `${v.getDotPath(result.issues[0])}: ` : ''}${message}`,
  )
}

/** What an overlay is pinned to: a hash of everything in the image, however it is compressed. */
export async function imageId({ size, chunkSize, chunks }: Manifest) {
  return `sha256:${await sha256(new TextEncoder().encode(`${size} ${chunkSize} ${chunks.join(' ')}`))}`
}

export class ChunkedImage implements ChunkSource {
  readonly capacity: number
  readonly chunkSize: number
  /** Chunks that came over the network, and from the cache; bytes that came over the network. */
  readonly counts = { fetched: 0, cached: 0, bytes: 0 }

  constructor(
    private readonly manifest: Manifest,
    private readonly base: string,
    private readonly options: ChunkedImageOptions,
  ) {
    this.capacity = manifest.size
    this.chunkSize = manifest.chunkSize
  }

  isZero(index: number) {
    return this.manifest.chunks[index] === null
  }

  async load(index: number): Promise<Uint8Array> {
    const hash = this.manifest.chunks[index]!
    const length = Math.min(this.chunkSize, this.capacity - index * this.chunkSize)
    const { cache } = this.options
    const kept = await cache?.get(hash)
    if (kept) {
      const bytes = await unpackChunk(kept, length, hash)
      if (bytes) {
        this.counts.cached++
        return bytes
      }
      await cache?.remove(hash)
    }
    const url = this.base + chunkPath(hash)
    const packed = await getFile(url, this.options)
    const bytes = await unpackChunk(packed, length, hash)
    if (!bytes) throw new BackendError(`${url} is not what the manifest says: its content does not have its SHA-256`)
    this.counts.fetched++
    this.counts.bytes += packed.length
    void cache?.put(hash, packed)
    return bytes
  }
}

let decoder: Promise<ZSTDDecoder> | undefined

/** What is in a compressed chunk, or nothing if that is not what it should be. */
export async function unpackChunk(packed: Uint8Array, length: number, hash: string) {
  decoder ??= (async () => {
    const zstd = new ZSTDDecoder()
    await zstd.init()
    return zstd
  })()
  let bytes: Uint8Array<ArrayBuffer>
  try {
    bytes = (await decoder).decode(packed, length) as Uint8Array<ArrayBuffer>
  } catch {
    return
  }
  return bytes.length === length && (await sha256(bytes)) === hash ? bytes : undefined
}

export async function sha256(bytes: Uint8Array<ArrayBuffer>) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  return Array.from(digest, byte => byte.toString(16).padStart(2, '0')).join('')
}
