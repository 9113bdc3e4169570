import { type DBSchema, deleteDB, type IDBPDatabase, openDB } from 'idb'
import type { BlockBackend } from '../../src/devices/block-backend.ts'
import { BackendError } from '../../src/virtio/machine.ts'
import { BLOCK, type BlockStore, storageError } from './block-store.ts'
import type { ImageFile } from './image-file.ts'
import { exportImage, importImage, type Progress } from './image-stream.ts'
import { IndexedDbStore } from './indexeddb.ts'
import { OpfsStore } from './opfs.ts'
import { Overlay } from './overlay.ts'

export type StoreKind = 'opfs' | 'indexeddb'

/** What a disk lies over: it makes no sense over anything else. */
export interface BaseImage {
  readonly url: string
  /** A hash of its content, or what stands in for one. */
  readonly id: string
  /** In bytes. */
  readonly size: number
}

/** A disk kept in this browser. */
export interface DiskRecord {
  readonly name: string
  /** Names its files and database; never changes. */
  readonly id: string
  /** Of the machine description it was made for; others must ask. */
  readonly origin: string
  /** Further origins that were let in. */
  readonly allowed: readonly string[]
  readonly store: StoreKind
  /** In bytes. */
  readonly size: number
  readonly base?: BaseImage
  /** Milliseconds since 1970. */
  readonly created: number
  /** In bytes, when it was last looked at. */
  readonly occupied: number
  /** Who opened it last, in words. */
  readonly holder?: string
  /** Its files were made: from then on their absence is a loss, and not a beginning. */
  readonly made?: boolean
}

export interface DiskEntry extends DiskRecord {
  /** Some tab has it attached. */
  readonly attached: boolean
}

interface Schema extends DBSchema {
  disks: { key: string; value: DiskRecord }
}

/** A description from elsewhere names a disk that is not its own. */
export class NotYoursError extends BackendError {
  override name = 'NotYoursError'
}
/** Another tab has the disk. */
export class AttachedError extends BackendError {
  override name = 'AttachedError'
}

export interface OpenOptions {
  /** Of the machine description that names it. */
  readonly origin: string
  /** In bytes: of a new disk, or what it is to grow to. */
  readonly size?: number
  readonly store?: StoreKind
  readonly base?: BaseImage & { readonly disk: BlockBackend }
  readonly readonly?: boolean
  readonly serial?: string
  /** Who asks, in words, for another tab to be told. */
  readonly holder?: string
}

const lockName = ({ id }: { id: string }) => `ringlet-disk:${id}`
const databaseName = (id: string) => `ringlet-disk:${id}`

/** The disks kept in this browser. Every method fails with `BackendError`. */
export class Disks {
  private constructor(private readonly db: IDBPDatabase<Schema>) {}

  static async open(): Promise<Disks> {
    try {
      return new Disks(
        await openDB<Schema>('ringlet-disks', 1, {
          upgrade: db => void db.createObjectStore('disks', { keyPath: 'name' }),
        }),
      )
    } catch (error) {
      throw storageError('looking for disks (is this a private window?)', error)
    }
  }

  async list(): Promise<DiskEntry[]> {
    const held = new Set((await navigator.locks.query()).held?.map(({ name }) => name))
    const records = await this.db.getAll('disks')
    return records.map(record => ({ ...record, attached: held.has(lockName(record)) }))
  }

  /** Opens a disk, or makes it if there is none of that name. Until it is closed, no other tab can write to it. */
  async attach(name: string, options: OpenOptions): Promise<Overlay> {
    const { origin, base, readonly = false, holder, serial } = options
    const known = await this.db.get('disks', name)
    const record = known ?? (await this.create(name, options))
    if (record.origin !== origin && !record.allowed.includes(origin))
      throw new NotYoursError(
        `the disk "${name}" belongs to machines from ${record.origin}, and this one is from ${origin}: only you can let it in`,
      )
    if (base?.id !== record.base?.id) throw new BackendError(changedBase(record, base))
    const release = readonly ? undefined : await this.lock(record)
    try {
      const store = await this.store(record, readonly)
      if (!readonly) await this.change(name, { ...(holder !== undefined && { holder }) })
      const size = Math.max(record.size, options.size ?? 0)
      const disk = new Overlay(store, base?.disk, {
        capacity: size,
        serial: serial ?? name.replace(/[^\x20-\x7e]/g, '').slice(0, 20),
        onGrow: size => this.change(name, { size }),
      })
      if (size !== record.size && !readonly) await this.change(name, { size })
      const close = disk.close.bind(disk)
      disk.close = async () => {
        try {
          await close()
          if (!readonly) await this.change(name, { occupied: store.occupied })
        } finally {
          release?.()
        }
      }
      return disk
    } catch (error) {
      release?.()
      throw error
    }
  }

  /** Lets machines from a further origin use a disk. */
  async allow(name: string, origin: string) {
    const record = await this.need(name)
    await this.change(name, { allowed: [...record.allowed, origin] })
  }

  /** Makes a disk out of an image: raw, raw.gz, raw.zst or qcow2. */
  async import(name: string, file: ImageFile, origin: string, kind?: StoreKind, progress?: Progress) {
    const record = await this.create(name, { origin, size: 512, ...(kind && { store: kind }) })
    const release = await this.lock(record)
    try {
      const store = await this.store(record, false)
      try {
        const size = await importImage(file, store, progress)
        await this.change(name, { size, occupied: store.occupied })
      } finally {
        await store.close()
      }
    } catch (error) {
      release()
      await this.remove(name)
      throw error
    }
    release()
  }

  /** A disk as a raw image or a raw.zst, in pieces; nobody may have it attached meanwhile. */
  async *export(
    name: string,
    openBase: (base: BaseImage) => Promise<BlockBackend>,
    options: { compress?: boolean; progress?: Progress } = {},
  ): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const record = await this.need(name)
    const release = await this.lock(record)
    try {
      const base = record.base && (await openBase(record.base))
      const disk = new Overlay(await this.store(record, false), base, { capacity: record.size })
      try {
        yield* exportImage(disk, options)
      } finally {
        await disk.close()
      }
    } finally {
      release()
    }
  }

  /** Forgets all that was written to it: it is its base again, or empty. */
  async reset(name: string) {
    const record = await this.need(name)
    const release = await this.lock(record)
    try {
      const store = await this.store(record, false, true)
      try {
        await store.clear()
      } finally {
        await store.close()
      }
      await this.change(name, { occupied: 0 })
    } finally {
      release()
    }
  }

  async remove(name: string) {
    const record = await this.need(name)
    const release = await this.lock(record)
    try {
      if (record.store === 'indexeddb') await deleteDB(databaseName(record.id))
      else {
        const folder = await disksFolder()
        await folder.removeEntry(record.id, { recursive: true }).catch(error => {
          if (error.name !== 'NotFoundError') throw error
        })
      }
      await this.db.delete('disks', name)
    } catch (error) {
      throw storageError(`deleting the disk "${name}"`, error)
    } finally {
      release()
    }
  }

  async rename(name: string, to: string) {
    const tx = this.db.transaction('disks', 'readwrite')
    const [record, other] = await Promise.all([tx.store.get(name), tx.store.get(to)])
    if (!record) throw new BackendError(`there is no disk "${name}"`)
    if (other) throw new BackendError(`there is a disk "${to}" already: choose another name`)
    tx.store.delete(name)
    tx.store.put({ ...record, name: to })
    await tx.done
  }

  private async need(name: string) {
    const record = await this.db.get('disks', name)
    if (!record) throw new BackendError(`there is no disk "${name}"`)
    return record
  }

  private async create(name: string, { origin, size, store, base }: OpenOptions): Promise<DiskRecord> {
    const bytes = Math.max(size ?? 0, base?.size ?? 0)
    if (bytes === 0)
      throw new BackendError(`the disk "${name}" is new, and nobody said how large it is to be: give its size`)
    const record: DiskRecord = {
      name,
      id: crypto.randomUUID(),
      origin,
      allowed: [],
      store: store ?? ((await hasOpfs()) ? 'opfs' : 'indexeddb'),
      size: bytes,
      ...(base && { base: { url: base.url, id: base.id, size: base.size } }),
      created: Date.now(),
      occupied: 0,
    }
    try {
      const tx = this.db.transaction('disks', 'readwrite', { durability: 'strict' })
      if (await tx.store.get(name)) throw new BackendError(`there is a disk "${name}" already: choose another name`)
      await tx.store.put(record)
      await tx.done
    } catch (error) {
      throw storageError(`making the disk "${name}"`, error)
    }
    return record
  }

  private async change(name: string, what: Partial<DiskRecord>) {
    const tx = this.db.transaction('disks', 'readwrite', { durability: 'strict' })
    const record = await tx.store.get(name)
    if (record) tx.store.put({ ...record, ...what })
    await tx.done
  }

  /** With `anew`, files that are gone are made again. */
  private async store(record: DiskRecord, readonly: boolean, anew = false): Promise<BlockStore> {
    if (record.store === 'indexeddb') return IndexedDbStore.open(databaseName(record.id))
    const folder = await disksFolder()
    if (record.made && !anew) await needFiles(folder, record)
    const store = await OpfsStore.open(await folder.getDirectoryHandle(record.id, { create: true }), readonly)
    if (!record.made) await this.change(record.name, { made: true })
    return store
  }

  /** Takes the disk for this tab; returns what gives it back. */
  private lock(record: DiskRecord): Promise<() => void> {
    return new Promise((resolve, reject) => {
      navigator.locks
        .request(lockName(record), { ifAvailable: true }, lock => {
          if (lock) return new Promise<void>(release => resolve(release))
          const by = record.holder ? ` by "${record.holder}"` : ''
          reject(
            new AttachedError(
              `the disk "${record.name}" is in use${by} in another tab: close it there, or attach it here read-only`,
            ),
          )
        })
        .catch(reject)
    })
  }
}

function changedBase({ name, base }: DiskRecord, now: BaseImage | undefined) {
  if (!base) return `the disk "${name}" stands alone, and this machine wants it over ${now?.url}: give it another name`
  if (!now)
    return `the disk "${name}" holds changes to ${base.url}, which this machine does not name: it makes no sense without it`
  return (
    `the disk "${name}" holds changes to ${base.url} as it was, and that image is another one now. ` +
    `Put over it they would make a broken file system. Export the disk, reset it, or use another name.`
  )
}

/**
 * A browser makes the names of new files last later than what is in them: a disk that is younger than the system's last
 * write-out can lose its files with the power. It must not come back empty as if nothing had been written to it.
 */
async function needFiles(folder: FileSystemDirectoryHandle, { id, name }: DiskRecord) {
  try {
    const files = await folder.getDirectoryHandle(id)
    for (const file of OpfsStore.FILES) await files.getFileHandle(file)
  } catch (error) {
    if ((error as Error).name !== 'NotFoundError') throw storageError('opening the disk', error)
    throw new BackendError(
      `the files of the disk "${name}" are gone from this browser's storage: they were cleared, or lost with the power ` +
        `soon after they were made. Reset or delete the disk to begin anew.`,
    )
  }
}

async function hasOpfs() {
  try {
    if (!('createSyncAccessHandle' in (globalThis.FileSystemFileHandle?.prototype ?? {}))) return false
    await navigator.storage.getDirectory()
    return true
  } catch {
    return false
  }
}

const disksFolder = async () =>
  (await navigator.storage.getDirectory()).getDirectoryHandle('ringlet-disks', { create: true })

/** The largest disk whose every block can be numbered, in bytes. */
export const LARGEST = 2 ** 32 * BLOCK
