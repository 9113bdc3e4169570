import { type DBSchema, type IDBPDatabase, openDB } from 'idb'
import type { ChunkCache } from './chunked-image.ts'

interface Schema extends DBSchema {
  /** By hash: compressed chunks. */
  chunks: { key: string; value: Uint8Array<ArrayBuffer> }
  /** By hash: when it was last used (milliseconds since 1970), and its bytes. */
  uses: { key: string; value: { used: number; size: number }; indexes: { used: number } }
}

/** Chunks of every image, kept in IndexedDB up to `limit` bytes; beyond it those unused the longest go. */
export class IndexedDbChunkCache implements ChunkCache {
  private constructor(
    private readonly db: IDBPDatabase<Schema>,
    private readonly limit: number,
    /** Bytes of each chunk that is there: what is not is not asked for, as that would wait for whatever is being stored. */
    private readonly sizes: Map<string, number>,
  ) {
    for (const size of sizes.values()) this.size += size
  }
  /** In bytes. */
  size = 0

  static async open(limit = 512 * 2 ** 20, name = 'ringlet-chunks') {
    const db = await openDB<Schema>(name, 1, {
      upgrade(db) {
        db.createObjectStore('chunks')
        db.createObjectStore('uses').createIndex('used', 'used')
      },
    })
    const tx = db.transaction('uses')
    const [hashes, uses] = await Promise.all([tx.store.getAllKeys(), tx.store.getAll()])
    return new IndexedDbChunkCache(db, limit, new Map(hashes.map((hash, i) => [hash, uses[i]!.size])))
  }

  async get(hash: string) {
    if (!this.sizes.has(hash)) return
    try {
      const bytes = await this.db.get('chunks', hash)
      if (bytes) this.db.put('uses', { used: Date.now(), size: bytes.length }, hash).catch(() => {})
      return bytes
    } catch {
      return // a cache that fails is an empty one
    }
  }

  async put(hash: string, bytes: Uint8Array<ArrayBuffer>) {
    if (bytes.length > this.limit) return
    try {
      if (this.size + bytes.length > this.limit) await this.evict(this.size + bytes.length - this.limit)
      const tx = this.db.transaction(['chunks', 'uses'], 'readwrite', { durability: 'relaxed' })
      tx.objectStore('chunks').put(bytes, hash)
      tx.objectStore('uses').put({ used: Date.now(), size: bytes.length }, hash)
      await tx.done
      this.note(hash, bytes.length)
    } catch {
      // No room: the chunk is fetched again when it is needed again.
    }
  }

  async remove(hash: string) {
    const tx = this.db.transaction(['chunks', 'uses'], 'readwrite')
    tx.objectStore('chunks').delete(hash)
    tx.objectStore('uses').delete(hash)
    await tx.done
    this.note(hash)
  }

  async clear() {
    const tx = this.db.transaction(['chunks', 'uses'], 'readwrite')
    tx.objectStore('chunks').clear()
    tx.objectStore('uses').clear()
    await tx.done
    this.sizes.clear()
    this.size = 0
  }

  close() {
    this.db.close()
  }

  /** This chunk is there, or is not. */
  private note(hash: string, size?: number) {
    this.size += (size ?? 0) - (this.sizes.get(hash) ?? 0)
    if (size === undefined) this.sizes.delete(hash)
    else this.sizes.set(hash, size)
  }

  /** A little more than asked for, so that not every chunk that comes pushes one out. */
  private async evict(bytes: number) {
    const tx = this.db.transaction(['chunks', 'uses'], 'readwrite')
    let left = bytes + this.limit / 16
    for await (const { primaryKey, value } of tx.objectStore('uses').index('used')) {
      if (left <= 0) break
      left -= value.size
      this.note(primaryKey)
      tx.objectStore('chunks').delete(primaryKey)
      tx.objectStore('uses').delete(primaryKey)
    }
    await tx.done
  }
}
