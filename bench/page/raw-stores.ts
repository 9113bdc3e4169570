import type { RawWork } from './raw-stores-worker.ts'

/** What the bare store does a second, in a worker of the page. */
export function rawStore(work: RawWork): Promise<number> {
  const worker = new Worker(new URL('./raw-stores-worker.ts', import.meta.url), { type: 'module' })
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => {
      worker.terminate()
      resolve(data)
    }
    worker.onerror = event => reject(new Error(event.message))
    worker.postMessage(work)
  })
}
