import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { type BlockBackend, MemoryDisk } from '../src/devices/block-backend.ts'
import { BackendError } from '../src/virtio/machine.ts'
import { MemoryStore } from '../worker/backends/block-store.ts'
import { openImage } from '../worker/backends/open-disk.ts'
import { Overlay } from '../worker/backends/overlay.ts'
import type { Described } from '../worker/device-types.ts'
import { FileDisk } from './files.ts'

/** Told of each chunked image, by its URL: `touched` grows with the chunks the guest reads, in their order. */
export type ChunkedImageOpened = (url: string, touched: readonly number[]) => void

/** Opens a described disk in Node; the images in `inPlace` are written, over all others the writes are forgotten. */
export async function openNodeDisk(
  { image, size = 0, disk, readonly = false, serial }: Described<'block'>,
  inPlace: readonly string[],
  chunked?: ChunkedImageOpened,
): Promise<BlockBackend> {
  if (!image) return new MemoryDisk(new Uint8Array(size * 2 ** 20), serial)
  const path = image.url.startsWith('file:') ? fileURLToPath(image.url) : undefined
  const opened = path && inPlace.some(name => samePath(name, image.url))
  if (opened) return new FileDisk(path, { readonly })
  const local = path && !path.endsWith('.json')
  const base = local ? new FileDisk(path, { readonly: true }) : await openRemote(image.url, chunked)
  if (readonly) return base
  if (disk)
    process.stderr.write(`What is written to the disk "${disk}" is forgotten at the end: only a browser keeps it.\n`)
  const capacity = Math.max(base.capacity, size * 2 ** 20)
  return new Overlay(new MemoryStore(), base, { capacity, ...(serial !== undefined && { serial }) })
}

async function openRemote(url: string, chunked: ChunkedImageOpened | undefined) {
  const { disk } = await openImage(url, missing, { fetch: fetchAny })
  if (disk.touched) chunked?.(url, disk.touched)
  return disk
}

const samePath = (name: string, url: string) => new URL(name, `file://${process.cwd()}/`).href === url

const missing = async (name: string): Promise<undefined> => {
  throw new BackendError(`${name} can only be picked in a page: name the file's path instead`)
}

/** `fetch` for addresses of files too. */
const fetchAny: typeof fetch = async (input, init) => {
  const url = String(input)
  if (!url.startsWith('file:')) return fetch(input, init)
  return readFile(new URL(url)).then(
    bytes => new Response(bytes),
    error =>
      new Response(null, { status: error.code === 'ENOENT' ? 404 : 403, statusText: error.message.slice(0, 80) }),
  )
}
