import * as Comlink from 'comlink'
import type { StoreKind } from '../../worker/backends/disks.ts'
import type { IdleDiskApi } from './idle-disk-worker.ts'

/** A disk in a worker without a machine. */
export async function idleDisk(store: StoreKind, size: number) {
  const worker = new Worker(new URL('./idle-disk-worker.ts', import.meta.url), { type: 'module' })
  const api = Comlink.wrap<IdleDiskApi>(worker)
  return { fill: () => api.fill(store, size), attach: () => api.attach() }
}
