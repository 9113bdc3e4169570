import { BackendError } from '../../src/virtio/machine.ts'
import { BLOCK, BlockState, type BlockStore, StorageFullError, storageError } from './block-store.ts'
import { WriteBehind } from './write-behind.ts'

const { ABSENT, ZERO, DATA } = BlockState

/** A file that is read and written within the call: OPFS's `FileSystemSyncAccessHandle`, or anything like it. */
export interface SyncFile {
  read(target: Uint8Array, options: { at: number }): number
  write(bytes: Uint8Array, options: { at: number }): number
  truncate(size: number): void
  getSize(): number
  flush(): void
  close(): void
}

export interface SyncFiles {
  readonly data: SyncFile
  /** Two, of which one is in use: the other takes the next whole copy. */
  readonly index: readonly [SyncFile, SyncFile]
}

/** A commit in the index: this header, then `count` pairs of le32 (block, slot). All le32. */
const HEADER = 20
const MAGIC = 0x58494c52 // "RLIX"
const SNAPSHOT = 1
const DELTA = 2
/** What the index says of a block: not there, zeroes, or where its bytes are: slot number + FIRST. */
const NONE = 0
const ZEROES = 1
const FIRST = 2
/** Blocks in a page of the table. */
const PAGE = 1024

/**
 * Blocks in three files: `data` is slots of 4 KiB without holes, in the order of first writing, so that a sparse disk
 * takes no more quota than what was written; `index` says which block is where. Everything completes within the call.
 *
 * FLUSH makes the data last first, and then what the index says of it, in one checksummed record with a generation number:
 * a record that did not get through whole never happened. A slot that a committed index still names is not given to another
 * block before a commit that no longer names it. A block that has its slot is overwritten in place, and needs no index; such
 * writes may wait in memory for the next flush.
 */
export class OpfsStore implements BlockStore {
  generation = 0
  private readonly table: (Uint32Array | undefined)[] = []
  /** Blocks whose entry is not in the index yet. */
  private readonly changed = new Set<number>()
  private slots = 0
  private free: number[] = []
  /** Free, but named by the committed index. */
  private freedSince: number[] = []
  private live = 0
  private zeroes = 0
  private dirty = false
  private active = 0
  private tail = 0
  private entries = 0
  private readonly data: SyncFile

  constructor(
    private readonly files: SyncFiles,
    /** Nothing is changed, so that it can be read while another tab writes it. */
    private readonly readonly = false,
  ) {
    try {
      this.data = readonly ? files.data : new WriteBehind(files.data)
      const found = files.index.map(readIndex)
      this.active = found[1]!.generation > found[0]!.generation ? 1 : 0
      const { commits, generation, length } = found[this.active]!
      for (const pairs of commits) for (let i = 0; i < pairs.length; i += 2) this.set(pairs[i]!, pairs[i + 1]!)
      this.entries = commits.reduce((all, pairs) => all + pairs.length / 2, 0)
      this.changed.clear()
      this.generation = generation
      this.tail = length
      this.reclaim()
    } catch (error) {
      throw storageError('opening the disk', error)
    }
  }

  static readonly FILES = ['data', 'index-a', 'index-b'] as const

  /** Opens, or makes, the files in a directory of the origin's private file system. */
  static async open(directory: FileSystemDirectoryHandle, readonly = false): Promise<OpfsStore> {
    const open: SyncFile[] = []
    try {
      for (const name of OpfsStore.FILES) {
        const file = await directory.getFileHandle(name, { create: true })
        // Who may write is settled by a Web Lock; the handle's own would keep readers out too, where it can be had milder.
        const options = { mode: 'readwrite-unsafe' } as object
        const handle = await (file.createSyncAccessHandle as (options: object) => Promise<unknown>).call(file, options)
        open.push(handle as SyncFile)
      }
      return new OpfsStore({ data: open[0]!, index: [open[1]!, open[2]!] }, readonly)
    } catch (error) {
      for (const file of open) file.close()
      if ((error as { name?: string }).name === 'NoModificationAllowedError')
        throw new BackendError('the disk is in use in another tab: close it there first', { cause: error })
      throw storageError('opening the disk', error)
    }
  }

  get occupied() {
    return this.slots * BLOCK + this.tail
  }

  state(block: number) {
    const entry = this.entry(block)
    return entry === NONE ? ABSENT : entry === ZEROES ? ZERO : DATA
  }

  read(offset: number, target: Uint8Array) {
    for (let at = 0; at < target.length; ) {
      const { from, length } = this.extent(offset + at, target.length - at)
      const piece = length === target.length ? target : target.subarray(at, at + length)
      let got: number
      try {
        got = this.data.read(piece, { at: from })
      } catch (error) {
        throw storageError('reading the disk', error)
      }
      if (got !== length)
        throw new BackendError(`the disk's data file ends early: ${got} bytes of ${length} at ${from}`)
      at += length
    }
  }

  write(block: number, bytes: Uint8Array) {
    const count = bytes.length / BLOCK
    const fresh: [block: number, before: number][] = []
    for (let i = 0; i < count; i++) {
      const before = this.entry(block + i)
      if (before >= FIRST) continue
      const slot = this.free.pop() ?? this.slots++
      this.set(block + i, slot + FIRST)
      fresh.push([block + i, before])
    }
    this.dirty = true
    try {
      for (let at = 0; at < bytes.length; ) {
        const { from, length } = this.extent(block * BLOCK + at, bytes.length - at)
        const piece = length === bytes.length ? bytes : bytes.subarray(at, at + length)
        const put = this.data.write(piece, { at: from })
        if (put !== length) throw new StorageFullError('no room left for the disk: only part of a write was taken')
        at += length
      }
    } catch (error) {
      // Blocks that had no bytes go back to having none; the others hold old or new bytes, as after any failed write.
      for (const [each, before] of fresh.reverse()) {
        this.free.push(this.entry(each) - FIRST)
        this.set(each, before)
      }
      throw storageError('writing the disk', error)
    }
  }

  mark(block: number, count: number, state: number) {
    const entry = state === ZERO ? ZEROES : NONE
    for (const end = block + count; block < end; block++) if (this.entry(block) !== entry) this.release(block, entry)
  }

  flush() {
    try {
      if (this.dirty) this.data.flush()
      this.dirty = false
      if (this.changed.size > 0) this.commit()
    } catch (error) {
      throw storageError('making the disk last', error)
    }
  }

  clear() {
    this.table.length = 0
    this.changed.clear()
    this.live = this.zeroes = 0
    try {
      this.snapshot()
      this.data.truncate(0)
      this.slots = 0
      this.free = []
      this.freedSince = []
    } catch (error) {
      throw storageError('resetting the disk', error)
    }
  }

  close() {
    try {
      if (!this.readonly) this.flush()
    } finally {
      for (const file of [this.data, ...this.files.index]) file.close()
    }
  }

  private entry(block: number) {
    return this.table[Math.floor(block / PAGE)]?.[block % PAGE] ?? NONE
  }

  private set(block: number, entry: number) {
    const page = (this.table[Math.floor(block / PAGE)] ??= new Uint32Array(PAGE))
    const before = page[block % PAGE]!
    this.live += Number(entry >= FIRST) - Number(before >= FIRST)
    this.zeroes += Number(entry === ZEROES) - Number(before === ZEROES)
    page[block % PAGE] = entry
    this.changed.add(block)
  }

  private release(block: number, entry: number) {
    const before = this.entry(block)
    if (before >= FIRST) this.freedSince.push(before - FIRST)
    this.set(block, entry)
  }

  /** Where bytes of the disk lie in the data file, and how many of them in a row. */
  private extent(offset: number, wanted: number) {
    const block = Math.floor(offset / BLOCK)
    const slot = this.entry(block) - FIRST
    let length = BLOCK - (offset % BLOCK)
    for (let i = 1; length < wanted && this.entry(block + i) - FIRST === slot + i; i++) length += BLOCK
    return { from: slot * BLOCK + (offset % BLOCK), length: Math.min(length, wanted) }
  }

  private commit() {
    const { active, tail } = this
    if (this.entries + this.changed.size > 4 * (this.live + this.zeroes) + PAGE) this.snapshot()
    else {
      const record = encode(DELTA, this.generation + 1, [...this.changed], block => this.entry(block))
      put(this.files.index[active]!, record, tail)
      this.files.index[active]!.flush()
      this.tail += record.length
      this.entries += this.changed.size
      this.generation++
    }
    this.changed.clear()
    for (const slot of this.freedSince) this.free.push(slot)
    this.freedSince = []
  }

  /** Writes the whole table into the index file that is not in use, and then uses that. */
  private snapshot() {
    const file = this.files.index[1 - this.active]!
    const blocks: number[] = []
    for (const [number, page] of this.table.entries())
      page?.forEach((entry, i) => {
        if (entry !== NONE) blocks.push(number * PAGE + i)
      })
    file.truncate(0)
    const record = encode(SNAPSHOT, this.generation + 1, blocks, block => this.entry(block))
    put(file, record, 0)
    file.flush()
    this.active = 1 - this.active
    this.generation++
    this.tail = record.length
    this.entries = blocks.length
  }

  /** After opening: finds the slots nobody names, and gives those at the end back to the browser. */
  private reclaim() {
    const used = new Set<number>()
    for (const page of this.table) for (const entry of page ?? []) if (entry >= FIRST) used.add(entry - FIRST)
    this.slots = used.size === 0 ? 0 : [...used].reduce((a, b) => Math.max(a, b), 0) + 1
    for (let slot = this.slots - 1; slot >= 0; slot--) if (!used.has(slot)) this.free.push(slot)
    const { data } = this
    const { index } = this.files
    if (this.readonly) return
    if (data.getSize() > this.slots * BLOCK) data.truncate(this.slots * BLOCK)
    if (data.getSize() < this.slots * BLOCK)
      throw new BackendError('the data file of the disk is shorter than its index says: it was cut outside of Ringlet')
    // What lies behind the last good commit is one that did not get through.
    if (index[this.active]!.getSize() > this.tail) index[this.active]!.truncate(this.tail)
  }
}

function put(file: SyncFile, bytes: Uint8Array, at: number) {
  if (file.write(bytes, { at }) !== bytes.length)
    throw new StorageFullError("no room left for the disk's index: free storage of this site and try again")
}

function encode(kind: number, generation: number, blocks: readonly number[], entry: (block: number) => number) {
  const bytes = new Uint8Array(HEADER + blocks.length * 8)
  const view = new DataView(bytes.buffer)
  for (const [i, value] of [MAGIC, kind, generation, blocks.length].entries()) view.setUint32(i * 4, value, true)
  for (const [i, block] of blocks.entries()) {
    view.setUint32(HEADER + i * 8, block, true)
    view.setUint32(HEADER + i * 8 + 4, entry(block), true)
  }
  view.setUint32(16, crc32(bytes, 16), true)
  return bytes
}

/** The commits of an index file, from its snapshot on, up to the first that is not whole or not the next one. */
function readIndex(file: SyncFile) {
  const bytes = new Uint8Array(file.getSize())
  file.read(bytes, { at: 0 })
  const view = new DataView(bytes.buffer)
  const commits: Uint32Array[] = []
  let generation = 0
  let at = 0
  while (at + HEADER <= bytes.length) {
    const [magic, kind, number, count, sum] = Array.from({ length: 5 }, (_, i) => view.getUint32(at + i * 4, true))
    const length = HEADER + count! * 8
    const next = commits.length === 0 ? kind === SNAPSHOT || number === 1 : kind === DELTA && number === generation + 1
    if (magic !== MAGIC || !next || at + length > bytes.length) break
    if (crc32(bytes.subarray(at, at + length), 16) !== sum) break
    commits.push(Uint32Array.from({ length: count! * 2 }, (_, i) => view.getUint32(at + HEADER + i * 4, true)))
    generation = number!
    at += length
  }
  return { commits, generation, length: at }
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let i = 0; i < 8; i++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1
  return byte
})

/** CRC-32 (ISO-HDLC) of the bytes, the four at `skip` taken as zeroes. */
function crc32(bytes: Uint8Array, skip: number) {
  let crc = 0xffffffff
  for (let i = 0; i < bytes.length; i++) {
    const byte = i >= skip && i < skip + 4 ? 0 : bytes[i]!
    crc = TABLE[(crc ^ byte) & 0xff]! ^ (crc >>> 8)
  }
  return ~crc >>> 0
}
