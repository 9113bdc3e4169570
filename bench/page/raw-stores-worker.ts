import type { SyncFile } from '../../worker/backends/opfs.ts'

/** What the browser's own storage can do at best, without any disk of ours: commits of 4 KiB, or megabytes in a row. */
export type RawWork = 'opfs' | 'indexeddb' | 'indexeddbInARow'

const BLOCK = 4096
/** Blocks that are there before, to be written over; and milliseconds. */
const COUNT = 1024
const DURATION = 1500

const block = () => crypto.getRandomValues(new Uint8Array(BLOCK))
const chance = () => Math.floor(Math.random() * COUNT)

/** Calls until the time is over, and says how often a second. */
async function rate(commit: () => void | Promise<void>) {
  const started = performance.now()
  let count = 0
  for (; performance.now() - started < DURATION; count++) await commit()
  return (count / (performance.now() - started)) * 1000
}

async function opfs() {
  const folder = await navigator.storage.getDirectory()
  const handle = await folder.getFileHandle('raw', { create: true })
  const file = await (handle as unknown as { createSyncAccessHandle(): Promise<SyncFile> }).createSyncAccessHandle()
  for (let i = 0; i < COUNT; i++) file.write(block(), { at: i * BLOCK })
  file.flush()
  const bytes = block()
  try {
    return await rate(() => {
      file.write(bytes, { at: chance() * BLOCK })
      file.flush()
    })
  } finally {
    file.close()
    await folder.removeEntry('raw')
  }
}

const settled = <T>(request: IDBRequest<T>) =>
  new Promise<T>((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })

/** Puts `count` blocks, from number `first` on, in one transaction. */
type Write = (first: number, count: number, durability: 'strict' | 'relaxed') => Promise<void>

async function inDatabase(work: (write: Write) => Promise<number>) {
  const open = indexedDB.open('raw', 1)
  open.onupgradeneeded = () => open.result.createObjectStore('blocks')
  const db = await settled(open)
  try {
    return await work((first, count, durability) => {
      const tx = db.transaction('blocks', 'readwrite', { durability })
      for (let i = 0; i < count; i++) tx.objectStore('blocks').put(block(), first + i)
      tx.commit()
      return new Promise((resolve, reject) => {
        tx.oncomplete = () => resolve()
        tx.onabort = () => reject(tx.error)
      })
    })
  } finally {
    db.close()
    await settled(indexedDB.deleteDatabase('raw'))
  }
}

const indexeddb = () =>
  inDatabase(async write => {
    await write(0, COUNT, 'strict')
    return rate(() => write(chance(), 1, 'strict'))
  })

/** Megabytes (2^20) a second, over blocks that are there, a megabyte in each transaction and only the last one strict. */
const indexeddbInARow = () =>
  inDatabase(async write => {
    const megabytes = 48
    let started = 0
    for (const _round of ['to be there', 'to be measured']) {
      started = performance.now()
      for (let i = 1; i <= megabytes; i++) await write((i - 1) * 256, 256, i < megabytes ? 'relaxed' : 'strict')
    }
    return (megabytes / (performance.now() - started)) * 1000
  })

addEventListener('message', async ({ data }: MessageEvent<RawWork>) => {
  postMessage(await { opfs, indexeddb, indexeddbInARow }[data]())
})
