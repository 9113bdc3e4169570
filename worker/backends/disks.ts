import { deleteDB } from 'idb'
import type { BlockBackend } from '../../src/devices/block-backend.ts'
import { BackendError } from '../../src/virtio/machine.ts'
import { type BlockStore, storageError } from './block-store.ts'
import {
  type BaseImage,
  DiskCatalogue,
  type DiskRecord,
  disksFolder,
  hasOpfs,
  type StoreKind,
} from './disk-catalogue.ts'
import type { ImageFile } from './image-file.ts'
import { exportImage, importImage, type Progress } from './image-stream.ts'
import { IndexedDbStore } from './indexeddb.ts'
import { beginNewLog } from './new-log.ts'
import { OpfsStore } from './opfs.ts'
import { checkGrowth, Overlay } from './overlay.ts'

export type { BaseImage, DiskRecord, StoreKind }

export interface DiskEntry extends DiskRecord {
  /** Some tab has it attached. */
  readonly attached: boolean
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
  /** What a link runs in place of what the description says: a disk is opened for that only once it was let in. */
  readonly changes?: string | undefined
  /** The user has said yes: from now on who asks is let in. */
  readonly letIn?: boolean
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

/** Once in a worker it is looked whether disks were left open. */
let looked: Promise<void> | undefined

/** The disks kept in this browser. Every method fails with `BackendError`. */
export class Disks {
  private constructor(private readonly catalogue: DiskCatalogue) {}

  static async open(): Promise<Disks> {
    const disks = new Disks(await DiskCatalogue.open())
    await (looked ??= disks.afterCrash())
    return disks
  }

  /** Deals with disks that were open when everything ended. Those on OPFS would not suffer from what may happen to databases. */
  private async afterCrash() {
    const all = await this.list()
    const left = all.filter(({ open, attached }) => open && !attached)
    if (left.length > 0 && all.some(({ store }) => store === 'indexeddb')) await beginNewLog()
    for (const { name } of left) await this.catalogue.change(name, { open: false })
  }

  async list(): Promise<DiskEntry[]> {
    const held = new Set((await navigator.locks.query()).held?.map(({ name }) => name))
    const records = await this.catalogue.all()
    return records.map(record => ({ ...record, attached: held.has(lockName(record)) }))
  }

  /** Opens a disk, or makes it if there is none of that name. Until it is closed, no other tab can write to it. */
  async attach(name: string, options: OpenOptions): Promise<Overlay> {
    const { origin, changes, base, readonly = false, holder, serial } = options
    const known = await this.catalogue.get(name)
    const owner = known?.origin ?? origin
    const who = changes ?? origin
    const trusted = who === owner || known?.allowed.includes(who)
    if (!trusted && !options.letIn) throw new NotYoursError(notYours(name, owner, options))
    const record = known ?? (await this.create(name, options))
    if (!trusted) await this.catalogue.change(name, { allowed: [...record.allowed, who] })
    if (base?.id !== record.base?.id) throw new BackendError(changedBase(record, base))
    const release = readonly ? undefined : await this.lock(record)
    try {
      const store = await this.store(record, readonly)
      if (!readonly) await this.catalogue.change(name, { open: true, ...(holder !== undefined && { holder }) })
      const size = Math.max(record.size, options.size ?? 0)
      const disk = new Overlay(store, base?.disk, {
        capacity: size,
        serial: serial ?? name.replace(/[^\x20-\x7e]/g, '').slice(0, 20),
        onGrow: size => this.catalogue.change(name, { size }),
      })
      if (size !== record.size && !readonly) await this.catalogue.change(name, { size })
      const close = disk.close.bind(disk)
      disk.close = async () => {
        try {
          await close()
          if (!readonly) await this.catalogue.change(name, { open: false, occupied: store.occupied })
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

  /** Makes a disk larger that nobody has attached: so many bytes, of which the new ones are zeroes. */
  async grow(name: string, size: number) {
    const record = await this.catalogue.need(name)
    const release = await this.lock(record)
    try {
      checkGrowth(record.size, size)
      await this.catalogue.change(name, { size })
    } finally {
      release()
    }
  }

  /** Makes a disk out of an image: raw, raw.gz, raw.zst or qcow2. */
  async import(name: string, file: ImageFile, origin: string, kind?: StoreKind, progress?: Progress) {
    const record = await this.create(name, { origin, size: 512, ...(kind && { store: kind }) })
    const release = await this.lock(record)
    try {
      const store = await this.store(record, false)
      try {
        const size = await importImage(file, store, progress)
        await this.catalogue.change(name, { size, occupied: store.occupied })
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
    const record = await this.catalogue.need(name)
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
    const record = await this.catalogue.need(name)
    const release = await this.lock(record)
    try {
      const store = await this.store(record, false, true)
      try {
        await store.clear()
      } finally {
        await store.close()
      }
      await this.catalogue.change(name, { occupied: 0 })
    } finally {
      release()
    }
  }

  async remove(name: string) {
    const record = await this.catalogue.need(name)
    const release = await this.lock(record)
    try {
      if (record.store === 'indexeddb') await deleteDB(databaseName(record.id))
      else {
        const folder = await disksFolder()
        await folder.removeEntry(record.id, { recursive: true }).catch(error => {
          if (error.name !== 'NotFoundError') throw error
        })
      }
      await this.catalogue.remove(name)
    } catch (error) {
      throw storageError(`deleting the disk "${name}"`, error)
    } finally {
      release()
    }
  }

  rename(name: string, to: string) {
    return this.catalogue.rename(name, to)
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
    await this.catalogue.add(record)
    return record
  }

  /** With `anew`, files that are gone are made again. */
  private async store(record: DiskRecord, readonly: boolean, anew = false): Promise<BlockStore> {
    if (record.store === 'indexeddb') return IndexedDbStore.open(databaseName(record.id))
    const folder = await disksFolder()
    if (record.made && !anew) await needFiles(folder, record)
    const store = await OpfsStore.open(await folder.getDirectoryHandle(record.id, { create: true }), readonly)
    if (!record.made) await this.catalogue.change(record.name, { made: true })
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

function notYours(name: string, owner: string, { origin, changes }: OpenOptions) {
  const stranger = owner === origin ? '' : `, and this one is from ${origin}`
  const changed = changes && `, and the link that starts this one changes what it runs: ${changes}`
  return `the disk "${name}" belongs to machines from ${owner}${stranger}${changed ?? ''}: only you can let it in`
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
