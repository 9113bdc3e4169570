/** Who lets the CPU run again: our scheduler, or v86's own nested worker. */
export type Schedule = 'ours' | 'v86'

/** Runs a bare-metal program under one of them, in a worker of its own. */
export function yields(schedule: Schedule, program: 'busy' | 'wake'): Promise<number> {
  const worker = new Worker(new URL('./yields-worker.ts', import.meta.url), { type: 'module' })
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => {
      worker.terminate()
      resolve(data)
    }
    worker.onerror = event => reject(new Error(event.message))
    worker.postMessage({ schedule, program })
  })
}
