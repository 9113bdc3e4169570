import type { SyncFile } from '../../worker/backends/opfs.ts'

/** What the browser's own storage can do at best, without any disk of ours. */
export type RawStore = 'opfs' | 'indexeddb'

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

async function indexeddb() {
  const open = indexedDB.open('raw', 1)
  open.onupgradeneeded = () => open.result.createObjectStore('blocks')
  const db = await settled(open)
  const write = (blocks: readonly number[]) =>
    new Promise<void>((resolve, reject) => {
      const tx = db.transaction('blocks', 'readwrite', { durability: 'strict' })
      for (const number of blocks) tx.objectStore('blocks').put(block(), number)
      tx.oncomplete = () => resolve()
      tx.onabort = () => reject(tx.error)
      tx.commit()
    })
  try {
    await write(Array.from({ length: COUNT }, (_, i) => i))
    return await rate(() => write([chance()]))
  } finally {
    db.close()
    await settled(indexedDB.deleteDatabase('raw'))
  }
}

addEventListener('message', async ({ data }: MessageEvent<RawStore>) => {
  postMessage(await { opfs, indexeddb }[data]())
})
