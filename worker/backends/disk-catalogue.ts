import { type DBSchema, type IDBPDatabase, openDB } from 'idb'
import { BackendError } from '../../src/virtio/machine.ts'
import { storageError } from './block-store.ts'

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
  /** Further origins that were let in, and links that change what a machine runs. */
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
  /** Somebody opened it for writing, and has not closed it. */
  readonly open?: boolean
}

interface Schema extends DBSchema {
  disks: { key: string; value: DiskRecord }
}

/** The copy of its record in a disk's folder. */
const COPY = 'record'

/**
 * Which disks there are. A disk on OPFS has a copy of its record beside its files: browsers drop an origin's databases
 * when they find them damaged, and the files, which are whole, must not be lost with their names.
 */
export class DiskCatalogue {
  /** Found by their copies, where the database takes nothing new: they can be read, and so saved, all the same. */
  private readonly found = new Map<string, DiskRecord>()
  private constructor(private readonly db: IDBPDatabase<Schema>) {}

  /** Fails with `BackendError`. */
  static async open(): Promise<DiskCatalogue> {
    try {
      const db = await openDB<Schema>('ringlet-disks', 1, {
        upgrade: db => void db.createObjectStore('disks', { keyPath: 'name' }),
      })
      const catalogue = new DiskCatalogue(db)
      if (await hasOpfs()) await catalogue.findLost()
      return catalogue
    } catch (error) {
      throw storageError('looking for disks (is this a private window?)', error)
    }
  }

  async all(): Promise<DiskRecord[]> {
    return [...(await this.db.getAll('disks')), ...this.found.values()]
  }

  async get(name: string): Promise<DiskRecord | undefined> {
    return (await this.db.get('disks', name)) ?? this.found.get(name)
  }

  async need(name: string): Promise<DiskRecord> {
    const record = await this.get(name)
    if (!record) throw new BackendError(`there is no disk "${name}"`)
    return record
  }

  async add(record: DiskRecord) {
    try {
      const tx = this.db.transaction('disks', 'readwrite', { durability: 'strict' })
      if (await tx.store.get(record.name)) throw taken(record.name)
      await tx.store.put(record)
      await tx.done
    } catch (error) {
      throw storageError(`making the disk "${record.name}"`, error)
    }
  }

  async change(name: string, what: Partial<DiskRecord>) {
    const tx = this.db.transaction('disks', 'readwrite', { durability: 'strict' })
    const record = await tx.store.get(name)
    if (record) tx.store.put({ ...record, ...what })
    await tx.done
    if (record) await copy({ ...record, ...what })
  }

  async rename(name: string, to: string) {
    const tx = this.db.transaction('disks', 'readwrite', { durability: 'strict' })
    const [record, other] = await Promise.all([tx.store.get(name), tx.store.get(to)])
    if (!record) throw new BackendError(`there is no disk "${name}"`)
    if (other) throw taken(to)
    tx.store.delete(name)
    tx.store.put({ ...record, name: to })
    await tx.done
    await copy({ ...record, name: to })
  }

  async remove(name: string) {
    this.found.delete(name)
    await this.db.delete('disks', name)
  }

  /** Takes disks in again that have files, and are not known. */
  private async findLost() {
    const known = new Set((await this.all()).map(({ id }) => id))
    for await (const [id, folder] of (await disksFolder()).entries()) {
      if (known.has(id) || folder.kind !== 'directory') continue
      const record = await readCopy(folder as FileSystemDirectoryHandle)
      if (record?.id !== id) continue
      let { name } = record
      while (await this.get(name)) name += ' (found)'
      const found = { ...record, name }
      await this.add(found).catch(async () => {
        // Another tab has found it too, or there is no room.
        if (!(await this.get(name))) this.found.set(name, found)
      })
    }
  }
}

const taken = (name: string) => new BackendError(`there is a disk "${name}" already: choose another name`)

/** The second copy of what is in the database already: where it fails, nothing is lost yet. */
async function copy(record: DiskRecord) {
  if (record.store !== 'opfs' || !record.made) return
  try {
    const folder = await (await disksFolder()).getDirectoryHandle(record.id)
    const file = await folder.getFileHandle(COPY, { create: true })
    const handle = await file.createSyncAccessHandle()
    try {
      const bytes = new TextEncoder().encode(JSON.stringify(record))
      handle.write(bytes, { at: 0 })
      handle.truncate(bytes.length)
      handle.flush()
    } finally {
      handle.close()
    }
  } catch {}
}

async function readCopy(folder: FileSystemDirectoryHandle): Promise<DiskRecord | undefined> {
  try {
    const file = await (await folder.getFileHandle(COPY)).getFile()
    return JSON.parse(await file.text())
  } catch {
    return undefined // it was never written, or not to its end
  }
}

export async function hasOpfs() {
  try {
    if (!('createSyncAccessHandle' in (globalThis.FileSystemFileHandle?.prototype ?? {}))) return false
    await navigator.storage.getDirectory()
    return true
  } catch {
    return false
  }
}

export const disksFolder = async () =>
  (await navigator.storage.getDirectory()).getDirectoryHandle('ringlet-disks', { create: true })
