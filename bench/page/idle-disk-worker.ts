import * as Comlink from 'comlink'
import { Disks, type StoreKind } from '../../worker/backends/disks.ts'

const PIECE = 2 ** 20
const NAME = 'bench idle'
const origin = 'http://bench'

/** Kept, so that nobody collects it. */
let attached: unknown

const api = {
  /** Makes it, writes all of it, and lets go of it. */
  async fill(store: StoreKind, size: number) {
    const disks = await Disks.open()
    await disks.remove(NAME).catch(() => {}) // of an earlier store
    const disk = await disks.attach(NAME, { origin, size, store })
    const bytes = new Uint8Array(PIECE).map((_, i) => i * 7)
    for (let at = 0; at < size; at += PIECE) await disk.write(at, bytes)
    await disk.flush()
    await disk.close()
  },
  async attach() {
    attached = await (await Disks.open()).attach(NAME, { origin })
    return attached !== undefined
  },
}
export type IdleDiskApi = typeof api
Comlink.expose(api)
