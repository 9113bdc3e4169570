import * as Comlink from 'comlink'
import { BLOCK, type BlockStore } from '../../../worker/backends/block-store.ts'
import { Disks, type StoreKind } from '../../../worker/backends/disks.ts'
import { openImage } from '../../../worker/backends/open-disk.ts'
import type { Overlay } from '../../../worker/backends/overlay.ts'

let disk: Overlay | undefined
const ORIGIN = 'http://test'

/** Every 4 bytes of a block: which round wrote it, and which block it is. So a torn or a lost one shows. */
function pattern(round: number, block: number) {
  const words = new Uint32Array(BLOCK / 4)
  for (let i = 0; i < words.length; i++) words[i] = (round * 65536 + block) ^ 0x5a5a0000
  return new Uint8Array(words.buffer)
}

function allZeroes(bytes: Uint8Array) {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2)
  for (let i = 0; i < words.length; i++) if (words[i] !== 0) return false
  return bytes.length % 4 === 0
}

const api = {
  async attach(name: string, store: StoreKind, size: number) {
    disk = await (await Disks.open()).attach(name, { origin: ORIGIN, store, size })
  },
  /** Writes so many blocks at random places, then flushes; returns where. */
  async round(round: number, blocks: number[]) {
    for (const block of blocks) await disk!.write(block * BLOCK, pattern(round, block))
    await disk!.flush()
  },
  /** For each block: the round that wrote it, 0 for none, -1 if it is torn. */
  async rounds(count: number) {
    const found: number[] = []
    for (let block = 0; block < count; block++) {
      const bytes = new Uint8Array(BLOCK)
      await disk!.read(block * BLOCK, bytes)
      const words = new Uint32Array(bytes.buffer)
      const round = words[0] === 0 ? 0 : ((words[0]! ^ 0x5a5a0000) - block) / 65536
      const whole = words[0] === 0 ? new Uint8Array(BLOCK) : pattern(round, block)
      found.push(bytes.every((byte, i) => byte === whole[i]) ? round : -1)
    }
    return found
  },
  async close() {
    await disk?.close()
    disk = undefined
  },
  list: async () => (await Disks.open()).list(),
  remove: async (name: string) => (await Disks.open()).remove(name),
  /** Posts a disk's bytes to the test, piece by piece, but for zeroes. Returns how many there are. */
  async export(name: string, url: string, compress = false) {
    const openBase = async ({ url }: { url: string }) => (await openImage(url, async () => undefined)).disk
    let at = 0
    for await (const bytes of (await Disks.open()).export(name, openBase, { compress })) {
      if (!allZeroes(bytes)) await fetch(`${url}?at=${at}`, { method: 'POST', body: bytes })
      at += bytes.length
    }
    return at
  },
  /** Commits a second of a store alone: one random block written and flushed each time. */
  async commitRate(name: string, store: StoreKind, seconds: number) {
    await api.attach(name, store, 64 * 2 ** 20)
    const { store: raw } = disk as unknown as { store: BlockStore }
    const bytes = pattern(1, 1)
    let commits = 0
    const end = performance.now() + seconds * 1000
    while (performance.now() < end) {
      await raw.write(Math.floor(Math.random() * 4096), bytes)
      await raw.flush()
      commits++
    }
    await api.close()
    return commits / seconds
  },
}
export type StoreApi = typeof api
Comlink.expose(api)
