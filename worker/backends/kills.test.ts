/** A worker killed at each call it makes into its medium, one after the other: before the call, and just after it. */

import 'fake-indexeddb/auto'
import { afterEach, expect, test, vi } from 'vitest'
import { MemoryDisk } from '../../src/devices/block-backend.ts'
import { mortalIndexedDb } from '../../test/disk/faulty-media.ts'
import { History } from '../../test/disk/history.ts'
import { files, Life, type UnreliableFile, type UnreliableFiles } from '../../test/disk/unreliable-file.ts'
import { BLOCK, BlockState, type BlockStore } from './block-store.ts'
import { IndexedDbStore } from './indexeddb.ts'
import { OpfsStore } from './opfs.ts'
import { Overlay } from './overlay.ts'

const SECTORS = 99 // twelve blocks and a bit
const pattern = (sectors: number, seed: number) =>
  Uint8Array.from({ length: sectors * 512 }, (_, i) => (i * 7 + seed * 31 + (i >> 9) * 3) & 0xff)
const IMAGE = pattern(SECTORS, 1)

/** Whole blocks, parts of blocks that are merged with their base, zeroes, discards, and flushes between and after. */
const WORK: readonly (readonly [what: string, sector?: number, sectors?: number])[] = [
  ['write', 8, 16],
  ['flush'],
  ['write', 13, 2],
  ['write', 8, 8],
  ['write', 40, 24],
  ['zero', 20, 30],
  ['flush'],
  ['flush'],
  ['discard', 8, 16],
  ['write', 0, 3],
  ['write', 96, 3],
  ['flush'],
  ['write', 8, 80],
  ['write', 16, 40],
  ['zero', 32, 8],
  ['flush'],
  ['write', 24, 8],
]

/** Does the work until it is killed. */
async function work(store: BlockStore, history: History) {
  const disk = new Overlay(store, new MemoryDisk(IMAGE.slice()))
  for (const [n, [what, sector = 0, sectors = 0]] of WORK.entries()) {
    const bytes = what === 'write' ? pattern(sectors, n + 2) : new Uint8Array(sectors * 512)
    const request = history.begin(what, sector * 512, bytes)
    if (what === 'write') await disk.write(sector * 512, bytes)
    else if (what === 'zero') await disk.writeZeroes(sector * 512, bytes.length)
    else if (what === 'discard') await disk.discard(sector * 512, bytes.length)
    else await disk.flush()
    request.done()
  }
}

async function faultsOf(store: BlockStore, history: History) {
  const found = new Uint8Array(IMAGE.length)
  await new Overlay(store, new MemoryDisk(IMAGE.slice())).read(0, found)
  return history.afterCrash(found)
}
const turns = async (count: number) => {
  for (; count > 0; count--) await new Promise(resolve => setImmediate(resolve))
}
afterEach(() => void vi.restoreAllMocks())

let databases = 0
// A store that writes out only at flushes, and one that also does so by itself, and makes writes wait.
test.each([
  ['at flushes', { idle: 0 }],
  ['in between', { idle: 0, gather: 3, limit: 6 }],
] as const)(
  'IndexedDB, writing %s: killed at any call, nothing flushed is lost',
  async (_, options) => {
    let all = Number.POSITIVE_INFINITY
    for (let last = 0; last < all; last++)
      for (const when of ['before', 'after'] as const) {
        const name = `kills-${++databases}`
        const store = await IndexedDbStore.open(name, options)
        const history = new History(IMAGE)
        const life = mortalIndexedDb(last, when)
        const killed = await work(store, history).then(
          () => false,
          () => true,
        )
        await turns(3) // what was committed gets there; the dead store can do nothing any more
        vi.restoreAllMocks()
        if (!killed && life.calls <= last) all = last
        const after = await IndexedDbStore.open(name, { idle: 0 })
        expect(await faultsOf(after, history), `killed ${when} call ${last + 1}`).toEqual([])
        await after.close()
      }
    expect(all).toBeGreaterThan(30)
  },
  120_000,
)

const remade = (old: UnreliableFiles, make: (file: UnreliableFile) => UnreliableFile): UnreliableFiles => ({
  data: make(old.data),
  index: [make(old.index[0]), make(old.index[1])],
})

/** Ways in which what was not flushed gets to the medium, or does not. */
const ends: Record<string, (file: UnreliableFile) => UnreliableFile> = {
  'a kill': file => file.afterKill(),
  'a power cut that spared nothing': file => file.afterPowerLoss(() => false),
  'a power cut that spared all': file => file.afterPowerLoss(() => true),
  ...Object.fromEntries(
    [1, 2, 3].map(seed => {
      let x = seed
      const chance = () => ((x = (Math.imul(x, 1103515245) + 12345) >>> 0) >>> 16) % 2 === 1
      return [`power cut ${seed}`, (file: UnreliableFile) => file.afterPowerLoss(chance)]
    }),
  ),
}

/** Files whose index is so long that one of the next flushes writes it anew, into the other file. */
function usedFiles(): UnreliableFiles {
  const used = files()
  const store = new OpfsStore(used)
  for (let round = 0; round < 2; round++) {
    store.write(1000, new Uint8Array(250 * BLOCK))
    store.flush()
    store.mark(1000, 250, BlockState.ABSENT)
    store.flush()
  }
  return used
}

test.each([
  ['new', files],
  ['whose index is due to be copied', usedFiles],
] as const)(
  'OPFS, files %s: killed at any call, or without power, nothing flushed is lost',
  async (_, make) => {
    let all = Number.POSITIVE_INFINITY
    for (let last = 0; last <= all; last++) {
      const life = new Life(last)
      const disk = remade(make(), file => file.afterKill(life))
      const history = new History(IMAGE)
      let killed = false
      try {
        await work(new OpfsStore(disk), history)
      } catch {
        killed = true
      }
      if (!killed) all = last
      for (const [end, after] of Object.entries(ends))
        expect(await faultsOf(new OpfsStore(remade(disk, after)), history), `${end} at call ${last + 1}`).toEqual([])
    }
    expect(all).toBeGreaterThan(15)
  },
  120_000,
)

test('killed at any call of a reset, a disk is as it was or reset, and never a mixture', async () => {
  for (let last = 0, killed = true; killed; last++) {
    const disk = files()
    const store = new OpfsStore(disk)
    store.write(3, new Uint8Array(2 * BLOCK).fill(7))
    store.flush()
    const dying = remade(disk, file => file.afterKill(new Life(last)))
    killed = false
    try {
      new OpfsStore(dying).clear()
    } catch {
      killed = true
    }
    for (const [end, after] of Object.entries(ends)) {
      const found = new OpfsStore(remade(dying, after))
      const bytes = new Uint8Array(2 * BLOCK).fill(7)
      const states = [found.state(3), found.state(4)]
      if (states[0] === BlockState.DATA) found.read(3 * BLOCK, bytes)
      expect([states[0], bytes.every(byte => byte === 7)], `${end} at call ${last + 1}`).toEqual([states[1], true])
    }
  }
}, 30_000)
