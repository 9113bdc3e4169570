import { ChunkReader, type ChunkReaderOptions } from './chunk-reader.ts'
import { getRange, type HttpOptions, type RemoteFile } from './http.ts'

/** What one request asks for, in bytes: below it the request itself costs more than the bytes. */
const CHUNK = 256 * 1024

/** A raw image on any server that answers Range requests. Read-only; fails with `BackendError`. */
export async function openHttpImage(url: string, options: HttpOptions & ChunkReaderOptions = {}) {
  const first = await getRange(url, 0, CHUNK, undefined, options)
  const { file } = first
  let head: Uint8Array | undefined = first.bytes
  const disk = new ChunkReader(
    {
      capacity: file.size - (file.size % 512),
      chunkSize: CHUNK,
      async load(index) {
        if (index === 0 && head) {
          const bytes = head
          head = undefined
          return bytes
        }
        const from = index * CHUNK
        return (await getRange(url, from, Math.min(from + CHUNK, file.size), file, options)).bytes
      },
    },
    options,
  )
  return { disk, id: remoteId(file) }
}

/** What an overlay over this file is pinned to, as long as nobody gave its hash. */
export const remoteId = ({ size, version }: RemoteFile) => `http:${size}:${version ?? 'no version'}`
