import type { RawStore } from './raw-stores-worker.ts'

/** Commits a second of 4 KiB each that the bare store makes, in a worker of the page. */
export function rawCommits(store: RawStore): Promise<number> {
  const worker = new Worker(new URL('./raw-stores-worker.ts', import.meta.url), { type: 'module' })
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => {
      worker.terminate()
      resolve(data)
    }
    worker.onerror = event => reject(new Error(event.message))
    worker.postMessage(store)
  })
}
