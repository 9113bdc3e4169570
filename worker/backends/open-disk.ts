import { type BlockBackend, MemoryDisk } from '../../src/devices/block-backend.ts'
import { BackendError } from '../../src/virtio/machine.ts'
import { BlobDisk } from './blob-disk.ts'
import { MemoryStore } from './block-store.ts'
import { IndexedDbChunkCache } from './chunk-cache.ts'
import type { ChunkReader } from './chunk-reader.ts'
import { type ChunkedImageOptions, openChunkedImage } from './chunked-image.ts'
import { AttachedError, type BaseImage, Disks, NotYoursError, type StoreKind } from './disks.ts'
import { openHttpImage } from './http-range.ts'
import { Overlay } from './overlay.ts'
import { patient, type WhenFull } from './patience.ts'

/** A disk as a machine description has it, its URL absolute. */
export interface DiskDescription {
  readonly image?: { readonly url: string; readonly sha256?: string | undefined } | undefined
  /** In MiB. */
  readonly size?: number | undefined
  readonly disk?: string | undefined
  readonly store?: StoreKind | undefined
  readonly readonly?: boolean | undefined
  readonly serial?: string | undefined
}

export interface DiskSurroundings {
  /** Of the machine description. */
  readonly origin: string
  /** What a link runs in place of what the description says, in words. */
  readonly changes?: string | undefined
  /** What the user calls the machine, for other tabs to be told. */
  readonly holder: string
  /** A file of the user's, by its name. */
  file(name: string): Promise<Blob | undefined>
  /** Asks the user; resolves to the index of the choice. */
  ask(title: string, detail: string, choices: readonly string[]): Promise<number>
  readonly whenFull: WhenFull
}

/** Opens what a description calls a disk. Fails with `BackendError`. */
export async function openDisk(description: DiskDescription, around: DiskSurroundings): Promise<BlockBackend> {
  const { image, size = 0, disk, store, serial } = description
  const base = image && (await openImage(image.url, name => around.file(name)))
  const bytes = Math.max(size * 2 ** 20, base?.size ?? 0)
  const named = serial === undefined ? {} : { serial }
  if (disk === undefined) {
    if (bytes === 0) throw new BackendError('a disk needs an image, a size, or both')
    if (!base) return new MemoryDisk(new Uint8Array(bytes), serial)
    if (description.readonly) return base.disk
    return new Overlay(new MemoryStore(), base.disk, { capacity: bytes, ...named })
  }
  const disks = await Disks.open()
  const options = {
    origin: around.origin,
    changes: around.changes,
    letIn: false,
    holder: around.holder,
    size: bytes,
    readonly: description.readonly ?? false,
    ...(store && { store }),
    ...(base && { base: { ...base, id: image.sha256 ? `sha256:${image.sha256}` : base.id } }),
    ...named,
  }
  for (;;)
    try {
      const attached = await disks.attach(disk, options)
      if (!options.readonly) return patient(attached, around.whenFull)
      return {
        capacity: attached.capacity,
        async: attached.async,
        ...(attached.serial !== undefined && { serial: attached.serial }),
        read: attached.read.bind(attached),
        readNow: attached.readNow.bind(attached),
        close: () => attached.close(),
      }
    } catch (error) {
      const { message } = error as Error
      if (error instanceof NotYoursError) {
        const yes = await around.ask(
          'May this machine use your disk?',
          `${message[0]!.toUpperCase()}${message.slice(1)}.`,
          [
            'Do not open it',
            `Let ${around.changes ? 'this changed machine' : `machines from ${around.origin}`} read and write "${disk}"`,
          ],
        )
        if (yes !== 1) throw error
        options.letIn = true
      } else if (error instanceof AttachedError) {
        const choice = await around.ask('This disk is in use', `${message[0]!.toUpperCase()}${message.slice(1)}.`, [
          'Do not start',
          'Start with it read-only',
          'Try again',
        ])
        if (choice === 0) throw error
        if (choice === 1) options.readonly = true
      } else throw error
    }
}

/** An image by its URL: `file:NAME`, the manifest of a chunked image, or a raw image. Read-only. */
export async function openImage(
  url: string,
  file: (name: string) => Promise<Blob | undefined>,
  options: ChunkedImageOptions = {},
): Promise<BaseImage & { readonly disk: BlockBackend & Partial<Pick<ChunkReader, 'touched'>> }> {
  if (/^file:[^/]/.test(url)) {
    const name = url.slice('file:'.length)
    const blob = await file(name)
    if (!blob) throw new BackendError(`the machine needs your file "${name}": pick it or drop it in the page`)
    const disk = new BlobDisk(blob, name)
    return { url, disk, size: disk.capacity, id: `file:${blob.size}:${(blob as File).lastModified ?? 0}` }
  }
  const chunked = /\.json($|[?#])/.test(url)
  const cache =
    chunked && typeof indexedDB !== 'undefined' ? await IndexedDbChunkCache.open().catch(() => undefined) : undefined
  const { disk, id } = chunked ? await openChunkedImage(url, { cache, ...options }) : await openHttpImage(url, options)
  return { url, disk, id, size: disk.capacity }
}
