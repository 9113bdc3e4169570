import { Zstd } from '@hpcc-js/wasm-zstd'
import type { BlockBackend } from '../../src/devices/block-backend.ts'
import { BLOCK, type BlockStore } from './block-store.ts'
import { type ImageFile, readImage } from './image-file.ts'

/** Told how much is done, of how much, in bytes. */
export type Progress = (done: number, total: number) => void

/**
 * Copies an image into an empty store, blocks of zeroes left out, and makes it last. Returns the size of the disk in
 * bytes, whole sectors. Fails with `BackendError`; the store then holds part of it.
 */
export async function importImage(file: ImageFile, store: BlockStore, progress?: Progress): Promise<number> {
  // Pieces come in any length: whole blocks go on, the rest waits for the next piece.
  const block = new Uint8Array(BLOCK)
  let filling = -1
  const put = async () => {
    if (filling >= 0 && !isZero(block)) await store.write(filling, block)
    block.fill(0)
    filling = -1
  }
  const pieces = readImage(file)
  let piece = await pieces.next()
  for (; !piece.done; piece = await pieces.next()) {
    const { offset, bytes, done } = piece.value
    for (let at = 0; at < bytes.length; ) {
      const number = Math.floor((offset + at) / BLOCK)
      const from = (offset + at) % BLOCK
      const length = Math.min(BLOCK - from, bytes.length - at)
      if (filling !== number) await put()
      if (from === 0 && length === BLOCK) {
        const whole = bytes.subarray(at, at + BLOCK)
        if (!isZero(whole)) await store.write(number, whole)
      } else {
        block.set(bytes.subarray(at, at + length), from)
        filling = number
      }
      at += length
    }
    progress?.(done, file.size)
  }
  await put()
  await store.flush()
  return Math.ceil(piece.value / 512) * 512
}

/** In bytes, of a disk: what is in memory at a time, and one frame of a .zst. */
const STEP = 2 ** 20

/** A disk as the bytes of a raw image, or of a raw.zst: the frames of which any zstd decoder takes for one file. */
export async function* exportImage(
  disk: BlockBackend,
  { compress = false, level = 3, progress }: { compress?: boolean; level?: number; progress?: Progress } = {},
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const zstd = compress ? await Zstd.load() : undefined
  const pack = (bytes: Uint8Array) => new Uint8Array(zstd!.compress(bytes, level))
  const zeroes = compress ? pack(new Uint8Array(STEP)) : undefined // most of most disks
  for (let offset = 0; offset < disk.capacity; offset += STEP) {
    const bytes = new Uint8Array(Math.min(STEP, disk.capacity - offset))
    await disk.read(offset, bytes)
    if (!zeroes) yield bytes
    else yield bytes.length === STEP && isZero(bytes) ? zeroes.slice() : pack(bytes)
    progress?.(offset + bytes.length, disk.capacity)
  }
}

export function isZero(bytes: Uint8Array) {
  const words = bytes.byteOffset % 4 === 0 ? Math.floor(bytes.length / 4) : 0
  const view = new Uint32Array(bytes.buffer, words > 0 ? bytes.byteOffset : 0, words)
  for (let i = 0; i < words; i++) if (view[i] !== 0) return false
  for (let i = words * 4; i < bytes.length; i++) if (bytes[i] !== 0) return false
  return true
}
