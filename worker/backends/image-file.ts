import { ZSTDDecoder } from 'zstddec/stream'
import { BackendError } from '../../src/virtio/machine.ts'
import { openQcow2 } from './qcow2.ts'

/** A disk image somebody has on their computer. */
export interface ImageFile {
  readonly name: string
  /** In bytes. */
  readonly size: number
  /** Bytes `from` … `to`, not included, within the call. */
  read(from: number, to: number): Uint8Array<ArrayBuffer>
}

/** A picked or dropped file, in a worker. */
export function pickedFile(file: File): ImageFile {
  const reader = new FileReaderSync()
  return {
    name: file.name,
    size: file.size,
    read(from, to) {
      try {
        return new Uint8Array(reader.readAsArrayBuffer(file.slice(from, to)))
      } catch (cause) {
        throw new BackendError(`${file.name} cannot be read any more: it was moved or changed`, { cause })
      }
    },
  }
}

/** Bytes of the disk and where they go. What is never mentioned is zeroes. */
export interface ImagePiece {
  readonly offset: number
  readonly bytes: Uint8Array
  /** How much of the file is read, in bytes. */
  readonly done: number
}
export type ImageFormat = 'raw' | 'gzip' | 'zstd' | 'qcow2'

const STEP = 2 ** 20
const MAGIC: readonly (readonly [ImageFormat, readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['qcow2', [0x51, 0x46, 0x49, 0xfb]],
]

export function imageFormat(file: ImageFile): ImageFormat {
  const head = file.read(0, Math.min(4, file.size))
  return MAGIC.find(([, magic]) => magic.every((byte, i) => head[i] === byte))?.[0] ?? 'raw'
}

/**
 * The disk in a raw, raw.gz, raw.zst or qcow2 image, piece by piece in ascending order, never much of it in memory.
 * Returns its size in bytes. Fails with `BackendError`.
 */
export async function* readImage(file: ImageFile): AsyncGenerator<ImagePiece, number> {
  const format = imageFormat(file)
  if (format === 'qcow2') {
    const image = await openQcow2(file)
    yield* image.pieces()
    return image.size
  }
  let size = 0
  for await (const { bytes, done } of unpacked(file, format)) {
    yield { offset: size, bytes, done }
    size += bytes.length
  }
  if (size === 0) throw new BackendError(`${file.name} is empty`)
  return size
}

async function* unpacked(file: ImageFile, format: ImageFormat): AsyncGenerator<{ bytes: Uint8Array; done: number }> {
  let done = 0
  function* input() {
    while (done < file.size) yield file.read(done, (done = Math.min(file.size, done + STEP)))
  }
  if (format === 'raw') {
    for (const bytes of input()) yield { bytes, done }
    return
  }
  try {
    if (format === 'zstd') {
      const zstd = new ZSTDDecoder()
      await zstd.init()
      for (const bytes of zstd.decodeStreaming(input())) yield { bytes, done }
    } else {
      const source = input()
      const packed = new ReadableStream<Uint8Array<ArrayBuffer>>({
        pull(controller) {
          const next = source.next()
          if (next.done) controller.close()
          else controller.enqueue(next.value)
        },
      })
      const reader = packed.pipeThrough(new DecompressionStream('gzip')).getReader()
      for (let part = await reader.read(); !part.done; part = await reader.read()) yield { bytes: part.value, done }
    }
  } catch (cause) {
    if (cause instanceof BackendError) throw cause
    throw new BackendError(`${file.name} is damaged or cut short: ${(cause as Error).message}`, { cause })
  }
}
