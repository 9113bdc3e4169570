/** A worker of its own for what is done to disks outside of machines, so that neither a machine nor the page waits for it. */

import * as Comlink from 'comlink'
import { BackendError } from '../src/virtio/machine.ts'
import { Disks, type StoreKind } from './backends/disks.ts'
import { pickedFile } from './backends/image-file.ts'
import type { Progress } from './backends/image-stream.ts'
import { openImage } from './backends/open-disk.ts'

const disks = Disks.open()
disks.catch(() => {}) // told to whoever asks

const openBase = async ({ url }: { url: string }) =>
  (
    await openImage(url, async name => {
      throw new BackendError(
        `this disk lies over your file "${name}": boot its machine with that file, and save it from there`,
      )
    })
  ).disk

/** Where an export is gathered when it cannot be written where the user wants it: a file, not memory. */
const EXPORT = 'ringlet-export'

const api = {
  list: async () => (await disks).list(),
  reset: async (name: string) => (await disks).reset(name),
  remove: async (name: string) => (await disks).remove(name),
  rename: async (name: string, to: string) => (await disks).rename(name, to),
  grow: async (name: string, size: number) => (await disks).grow(name, size),
  import: async (name: string, file: File, origin: string, store: StoreKind | undefined, progress: Progress) =>
    (await disks).import(name, pickedFile(file), origin, store, progress),
  /** Writes the disk into a file the user chose; without one into a file of the browser's, which is returned. */
  async export(name: string, to: FileSystemFileHandle | undefined, compress: boolean, progress: Progress) {
    const folder = to ? undefined : await navigator.storage.getDirectory()
    const handle = to ?? (await folder!.getFileHandle(EXPORT, { create: true }))
    const file = await handle.createWritable()
    try {
      for await (const bytes of (await disks).export(name, openBase, { compress, progress })) await file.write(bytes)
      await file.close()
    } catch (error) {
      await file.abort().catch(() => {})
      throw error
    }
    return to ? undefined : handle.getFile()
  },
  /** Lets go of what the last `export` gathered. */
  async forgetExport() {
    const folder = await navigator.storage.getDirectory()
    await folder.removeEntry(EXPORT).catch(() => {})
  },
}
export type DisksApi = typeof api
Comlink.expose(api)
