import { type DBSchema, type IDBPDatabase, type IDBPObjectStore, openDB, unwrap } from 'idb'
import { BackendError } from '../../src/virtio/machine.ts'
import { BlockCache } from './block-cache.ts'
import { BLOCK, BlockState, type BlockStore, pieces, storageError } from './block-store.ts'

const { ABSENT, ZERO, DATA } = BlockState

interface Schema extends DBSchema {
  /**
   * Key N: the bytes of block N, never near 64 KiB, from where Chromium makes a file of every value.
   * Key -1-N, with no bytes: block N is zeroes. So the keys alone say what is there.
   */
  blocks: { key: number; value: Uint8Array }
  /** `generation` counts commits: a strict transaction that puts nothing makes nothing last. */
  meta: { key: string; value: number }
}
const zeroKey = (block: number) => -1 - block

export interface IndexedDbOptions {
  /** In blocks: from so many unwritten ones on they are written out without waiting for a flush. */
  readonly gather?: number
  /** In blocks: from so many unwritten ones on, a write waits. Bounds the memory. */
  readonly limit?: number
  /** Milliseconds after which unwritten blocks are written out though nobody asks. 0: never. */
  readonly idle?: number
  /** In blocks: so many are kept in memory while the disk is being read. */
  readonly cache?: number
  /** Milliseconds without a read after which they are let go of. 0: never. */
  readonly cacheIdle?: number
}
const defaults: Required<IndexedDbOptions> = { gather: 256, limit: 4096, idle: 1000, cache: 16384, cacheIdle: 60_000 }

/** Bytes to be written, or nothing: a block of zeroes (ZERO) or none (ABSENT). */
type Change = Uint8Array<ArrayBuffer> | typeof ZERO | typeof ABSENT
const stateOf = (change: Change) => (change instanceof Uint8Array ? DATA : change)

/**
 * Blocks in an IndexedDB database of their own. Writes are gathered in memory and complete at once, as in any disk with
 * a write cache. FLUSH is one strict transaction: all gathered blocks, and after them a new generation number. A strict
 * transaction that puts something also hardens every relaxed one before it.
 */
export class IndexedDbStore implements BlockStore {
  readonly async = true
  generation = 0
  /** Not yet in the database. */
  private gathered = new Map<number, Change>()
  /** In a transaction that is not over. */
  private committing = new Map<number, Change>()
  private commit: Promise<void> | undefined
  private next: Promise<void> | undefined
  /** Something in the database may not survive a power failure yet. */
  private soft = false
  private count = 0
  private reads: Read[] = []
  private readonly cache: BlockCache
  private timer: ReturnType<typeof setTimeout> | undefined
  private closed = false

  private constructor(
    readonly name: string,
    private db: IDBPDatabase<Schema>,
    private readonly states: Uint8Array[],
    private readonly options: Required<IndexedDbOptions>,
  ) {
    this.cache = new BlockCache(options.cache, options.cacheIdle)
  }

  static async open(name: string, options: IndexedDbOptions = {}): Promise<IndexedDbStore> {
    try {
      const db = await connect(name)
      const store = new IndexedDbStore(name, db, [], { ...defaults, ...options })
      store.generation = (await db.get('meta', 'generation')) ?? 0
      let from = Number.NEGATIVE_INFINITY
      for (
        let keys: number[];
        (keys = await db.getAllKeys('blocks', IDBKeyRange.lowerBound(from, true), 16384)).length;
      ) {
        for (const key of keys) store.setState(key < 0 ? -1 - key : key, key < 0 ? ZERO : DATA)
        for (const key of keys) if (key < 0) store.states[(-1 - key) >>> 14]![(-1 - key) & 0x3fff]! |= ZERO_KEY
        from = keys.at(-1)!
      }
      return store
    } catch (error) {
      throw storageError(`opening the disk in IndexedDB`, error)
    }
  }

  get occupied() {
    return this.count * BLOCK
  }

  state(block: number) {
    return (this.states[block >>> 14]?.[block & 0x3fff] ?? ABSENT) & STATE
  }

  readNow(offset: number, target: Uint8Array): boolean {
    for (const { block, from, at, length } of pieces(offset, target.length)) {
      const bytes = this.recent(block)
      if (!bytes) return false
      target.set(bytes.subarray(from, from + length), at)
    }
    return true
  }

  /** Reads asked for in one turn share one transaction. */
  read(offset: number, target: Uint8Array): void | Promise<void> {
    if (this.readNow(offset, target)) return
    return new Promise((done, failed) => {
      if (this.reads.push({ offset, target, done, failed }) === 1) queueMicrotask(() => this.readAll())
    })
  }

  write(block: number, bytes: Uint8Array): void | Promise<void> {
    for (let at = 0; at < bytes.length; at += BLOCK) this.change(block++, bytes.slice(at, at + BLOCK))
    return this.afterChange()
  }

  mark(block: number, count: number, state: number): void | Promise<void> {
    for (const end = block + count; block < end; block++)
      if (this.state(block) !== state) this.change(block, state === ZERO ? ZERO : ABSENT)
    return this.afterChange()
  }

  flush(): void | Promise<void> {
    if (!this.commit && this.gathered.size === 0 && !this.soft) return
    if (!this.commit) return this.begin('strict')
    // One is under way, begun before this call: what came since is in the next one, shared by all who ask meanwhile.
    this.next ??= this.commit
      .catch(() => {})
      .then(() => {
        this.next = undefined
        return this.flush()
      })
    return this.next
  }

  async clear() {
    while (this.commit) await this.commit.catch(() => {})
    this.gathered.clear()
    try {
      const tx = this.db.transaction(['blocks', 'meta'], 'readwrite', { durability: 'strict' })
      tx.objectStore('blocks').clear()
      tx.objectStore('meta').put(this.generation + 1, 'generation')
      await tx.done
    } catch (error) {
      throw storageError('resetting the disk', error)
    }
    this.generation++
    this.cache.clear()
    this.states.length = 0
    this.count = 0
  }

  async close() {
    try {
      await this.flush()
    } finally {
      this.closed = true
      clearTimeout(this.timer)
      this.cache.clear()
      this.db.close()
    }
  }

  private recent(block: number): Uint8Array | undefined {
    const change = this.gathered.get(block) ?? this.committing.get(block)
    if (change === undefined) return this.cache.get(block)
    return change instanceof Uint8Array ? change : undefined
  }

  private change(block: number, change: Change) {
    this.gathered.set(block, change)
    this.cache.drop(block)
    this.setState(block, stateOf(change))
  }

  private setState(block: number, state: number) {
    const page = (this.states[block >>> 14] ??= new Uint8Array(0x4000))
    const before = page[block & 0x3fff]!
    if ((before & STATE) === DATA) this.count--
    if (state === DATA) this.count++
    page[block & 0x3fff] = (before & ZERO_KEY) | state
  }

  private afterChange(): void | Promise<void> {
    const { gather, limit, idle } = this.options
    if (this.gathered.size >= gather && !this.commit && !this.next) this.begin('relaxed').catch(() => {})
    else if (idle > 0)
      this.timer ??= setTimeout(() => {
        this.timer = undefined
        if (!this.commit && !this.next && this.gathered.size > 0 && !this.closed) this.begin('relaxed').catch(() => {})
      }, idle)
    if (this.unwritten >= limit) return this.room()
  }

  private get unwritten() {
    return this.gathered.size + this.committing.size
  }

  /** Waits until the gathered blocks are few enough again, or says why they cannot be. */
  private async room(): Promise<void> {
    while (this.unwritten >= this.options.limit) await (this.commit ?? this.begin('relaxed'))
  }

  private begin(durability: 'strict' | 'relaxed'): Promise<void> {
    this.committing = this.gathered
    this.gathered = new Map()
    const commit = this.committing
    this.commit = this.store(durability)
      .catch(error => {
        // Nothing of it is in the database: it is gathered again, under what has been written since.
        for (const [block, change] of this.gathered) commit.set(block, change)
        this.gathered = commit
        throw storageError('writing the disk', error)
      })
      .finally(() => {
        this.committing = new Map()
        this.commit = undefined
      })
    // A failure is told to whoever waits for it; a write-out that nobody waits for is tried again.
    this.commit.then(
      () => {
        if (this.gathered.size < this.options.gather || this.closed || this.commit || this.next) return
        this.begin('relaxed').catch(() => {})
      },
      () => {},
    )
    return this.commit
  }

  private async store(durability: 'strict' | 'relaxed', again = true): Promise<void> {
    try {
      const tx = this.db.transaction(['blocks', 'meta'], 'readwrite', { durability })
      tx.done.catch(() => {}) // told where it is awaited
      // A request that fails aborts its transaction, and the transaction says why: the requests themselves need no promises.
      const generation = this.generation + 1
      try {
        const blocks = unwrap(tx.objectStore('blocks'))
        for (const [block, change] of this.committing) this.put(blocks, block, change)
        unwrap(tx.objectStore('meta')).put(generation, 'generation')
        tx.commit()
      } catch (error) {
        // Left alone, it would commit what it has: a block deleted, say, without the record that it is zeroes.
        abort(tx)
        throw error
      }
      await tx.done
      this.generation = generation
      this.soft = durability === 'relaxed'
      for (const [block, change] of this.committing)
        if (change instanceof Uint8Array && !this.gathered.has(block)) this.cache.put(block, change)
    } catch (error) {
      if (!again || !lostConnection(error) || this.closed) throw error
      this.db = await connect(this.name)
      await this.store(durability, false)
    }
  }

  private put(blocks: IDBObjectStore, block: number, change: Change) {
    if (change instanceof Uint8Array) blocks.put(change, block)
    else blocks.delete(block)
    const page = this.states[block >>> 14]!
    if (change === ZERO) {
      blocks.put(EMPTY, zeroKey(block))
      page[block & 0x3fff]! |= ZERO_KEY
    } else if (page[block & 0x3fff]! & ZERO_KEY) blocks.delete(zeroKey(block))
  }

  private async readAll() {
    const reads = this.reads
    this.reads = []
    try {
      await this.fetch(reads)
    } catch (error) {
      for (const { failed } of reads) failed(storageError('reading the disk', error))
    }
  }

  private async fetch(reads: Read[], again = true): Promise<void> {
    try {
      const tx = this.db.transaction('blocks')
      tx.done.catch(() => {}) // its requests tell
      const blocks = tx.store
      await Promise.all(reads.map(read => this.fetchOne(blocks, read)))
    } catch (error) {
      if (!again || !lostConnection(error) || this.closed) throw error
      this.db = await connect(this.name)
      await this.fetch(reads, false)
    }
  }

  /** Copies what is gathered now, and fetches the rest, neighbours together. */
  private async fetchOne(blocks: ReadBlocks, { offset, target, done, failed }: Read) {
    const runs: Run[] = []
    for (const { block, from, at, length } of pieces(offset, target.length)) {
      const bytes = this.recent(block)
      const last = runs.at(-1)
      if (bytes) target.set(bytes.subarray(from, from + length), at)
      else if (last && last.block + last.count === block) last.count++
      else runs.push({ block, count: 1, from, at })
    }
    const fetched = runs.map(({ block, count }) =>
      count === 1 ? blocks.get(block).then(bytes => (bytes ? [bytes] : [])) : blocks.getAll(run(block, count)),
    )
    const kept = runs.map(({ block, count }) => this.cache.fetch(block, count))
    for (const [i, { block, count, from, at }] of runs.entries()) {
      let found = await fetched[i]!
      if (found.length !== count) {
        // Some were discarded since the read began: any bytes will do for those, but none may be missing otherwise.
        found = await Promise.all(Array.from({ length: count }, async (_, k) => (await blocks.get(block + k)) ?? EMPTY))
        const gone = found.findIndex((bytes, k) => bytes.length !== BLOCK && this.state(block + k) === DATA)
        if (gone >= 0) return failed(new BackendError(`block ${block + gone} of the disk is gone from IndexedDB`))
      }
      let to = at
      for (let k = 0; k < count; k++) {
        const start = k === 0 ? from : 0
        const length = Math.min(BLOCK - start, target.length - to)
        if (found[k]!.length === BLOCK) {
          target.set(found[k]!.subarray(start, start + length), to)
          kept[i]!(block + k, found[k]!)
        } else target.fill(0, to, to + length)
        to += length
      }
    }
    done()
  }
}

type ReadBlocks = Pick<IDBPObjectStore<Schema, ['blocks'], 'blocks', 'readonly'>, 'get' | 'getAll'>
interface Run {
  readonly block: number
  count: number
  /** Where in its first block it begins, and where in the target. */
  readonly from: number
  readonly at: number
}
interface Read {
  readonly offset: number
  readonly target: Uint8Array
  readonly done: () => void
  readonly failed: (error: unknown) => void
}

const EMPTY = new Uint8Array(0)
/** In `states`: the state itself, and whether the database has (or may have) a record that says zeroes. */
const STATE = 3
const ZERO_KEY = 4

const run = (block: number, count: number) => IDBKeyRange.bound(block, block + count - 1)

const connect = (name: string) =>
  openDB<Schema>(name, 1, {
    upgrade(db) {
      db.createObjectStore('blocks')
      db.createObjectStore('meta')
    },
  })

function abort(tx: { abort(): void }) {
  try {
    tx.abort()
  } catch {
    // It is over already.
  }
}

/** The browser closed the connection under us, as it may after a crash of its storage process. */
const lostConnection = (error: unknown) => (error as { name?: string }).name === 'InvalidStateError'
