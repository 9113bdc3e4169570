import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type BlockBackend, MemoryDisk } from '../../src/devices/block-backend.ts'
import { BackendError } from '../../src/virtio/machine.ts'
import { History } from '../../test/disk/history.ts'
import { BLOCK, BlockState, type BlockStore, MemoryStore, pieces } from './block-store.ts'
import { Overlay } from './overlay.ts'

const SECTORS = 41 // five blocks and a bit: the last block is cut short
const SIZE = SECTORS * 512
const pattern = (length: number, seed: number) =>
  Uint8Array.from({ length }, (_, i) => (i * 7 + seed + (i >> 9)) & 0xff)

const IMAGE = pattern(SIZE, 1)
const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0

test('a write of whole blocks reads nothing; one of less reads its block once', () => {
  const reads: number[] = []
  const base = new MemoryDisk(pattern(SIZE, 1))
  const read = base.read.bind(base)
  base.read = (offset, target) => {
    reads.push(offset)
    read(offset, target)
  }
  const disk = new Overlay(new MemoryStore(), base)
  disk.write(BLOCK, pattern(2 * BLOCK, 9))
  expect(reads).toEqual([])
  disk.write(3 * BLOCK + 512, pattern(512, 3))
  disk.write(3 * BLOCK + 1024, pattern(512, 4))
  expect(reads).toEqual([3 * BLOCK])
})

test('the base is never written, and comes back at a reset', async () => {
  const image = pattern(SIZE, 1)
  const disk = new Overlay(new MemoryStore(), new MemoryDisk(image))
  disk.write(0, pattern(SIZE, 2))
  disk.writeZeroes(512, 8192)
  expect(same(image, IMAGE)).toBe(true)
  await disk.reset()
  const all = new Uint8Array(SIZE)
  disk.read(0, all)
  expect(same(all, IMAGE)).toBe(true)
})

test('it grows: new sectors are zeroes, and the device is told', async () => {
  const disk = new Overlay(new MemoryStore(), new MemoryDisk(pattern(SIZE, 1)))
  let told = 0
  disk.onResize = () => told++
  await disk.grow(SIZE + 4096)
  expect([disk.capacity, told]).toEqual([SIZE + 4096, 1])
  const end = new Uint8Array(4096 + 512)
  disk.read(SIZE - 512, end)
  expect(same(end, new Uint8Array([...IMAGE.slice(-512), ...new Uint8Array(4096)]))).toBe(true)
  await expect(disk.grow(512)).rejects.toThrow(BackendError)
})

test('everything is done within the call where store and base can', () => {
  const disk = new Overlay(new MemoryStore(), new MemoryDisk(pattern(SIZE, 1)))
  expect(disk.async).toBe(false)
  expect(disk.read(0, new Uint8Array(SIZE))).toBeUndefined()
  expect(disk.write(512, new Uint8Array(9 * 512))).toBeUndefined()
  expect(disk.writeZeroes(512, 9 * 512)).toBeUndefined()
})

/** Answers later, sometimes much later, and now and then not at all. */
class Flaky implements BlockStore {
  readonly async = true
  constructor(
    private readonly inner: BlockStore,
    private readonly fate: () => number,
  ) {}
  get occupied() {
    return this.inner.occupied
  }
  state(block: number) {
    return this.inner.state(block)
  }
  private async after(work: () => void | Promise<void>): Promise<void> {
    for (let turns = this.fate() % 5; turns > 0; turns--) await Promise.resolve()
    if (this.fate() % 8 === 0) throw new BackendError('the store failed')
    return work()
  }
  read(offset: number, target: Uint8Array) {
    return this.after(() => {
      for (const { block, at, length } of pieces(offset, target.length))
        if (this.inner.state(block) === BlockState.DATA) this.inner.read(offset + at, target.subarray(at, at + length))
    })
  }
  write(block: number, bytes: Uint8Array) {
    if (this.fate() % 8 === 0) throw new BackendError('the store is full')
    this.inner.write(block, bytes)
    return this.after(() => {})
  }
  mark(block: number, count: number, state: number) {
    this.inner.mark(block, count, state)
    return this.after(() => {})
  }
  flush() {
    return this.after(() => {})
  }
  clear() {
    this.inner.clear()
  }
  close() {}
}
class FlakyBase implements BlockBackend {
  readonly async = true
  readonly capacity = SIZE
  constructor(
    private readonly image: Uint8Array,
    private readonly fate: () => number,
  ) {}
  async read(offset: number, target: Uint8Array) {
    for (let turns = this.fate() % 9; turns > 0; turns--) await Promise.resolve()
    if (this.fate() % 8 === 0) throw new BackendError('the network failed')
    target.set(this.image.subarray(offset, offset + target.length))
  }
}

const request = fc
  .record({ from: fc.nat(SECTORS - 1), count: fc.integer({ min: 1, max: 20 }), seed: fc.nat(255), wait: fc.boolean() })
  .chain(at =>
    fc.constantFrom('read', 'write', 'zero', 'discard').map(what => ({
      ...at,
      what,
      offset: at.from * 512,
      length: Math.min(at.count, SECTORS - at.from) * 512,
    })),
  )

describe('under a random workload', () => {
  test('reads equal a model disk', () => {
    fc.assert(
      fc.property(fc.array(request, { maxLength: 30 }), work => {
        const model = pattern(SIZE, 1)
        const disk = new Overlay(new MemoryStore(), new MemoryDisk(model.slice()))
        for (const { what, offset, length, seed } of work) {
          if (what === 'write') {
            disk.write(offset, pattern(length, seed))
            model.set(pattern(length, seed), offset)
          } else if (what === 'zero') {
            disk.writeZeroes(offset, length)
            model.fill(0, offset, offset + length)
          } else if (what === 'discard') {
            disk.discard(offset, length)
            const from = Math.ceil(offset / BLOCK) * BLOCK
            const to = offset + length === SIZE ? SIZE : Math.floor((offset + length) / BLOCK) * BLOCK
            if (to > from) model.fill(0, from, to)
          } else {
            const got = new Uint8Array(length)
            expect(disk.readNow(offset, got)).toBe(true)
            expect(same(got, model.subarray(offset, offset + length))).toBe(true)
          }
        }
      }),
      { numRuns: 150 },
    )
  })

  test('with failing, slow stores and many requests at once, reads equal the model or report an error', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(request, { maxLength: 30 }), fc.nat(), async (work, luck) => {
        const fate = () => (luck = (Math.imul(luck, 1103515245) + 12345) >>> 0) >>> 16
        const disk = new Overlay(new Flaky(new MemoryStore(), fate), new FlakyBase(IMAGE, fate))
        const history = new History(IMAGE)
        let under: Promise<void>[] = []
        for (const { what, offset, length, seed, wait } of work) {
          const bytes = what === 'write' ? pattern(length, seed) : new Uint8Array(length)
          under.push(ask(disk, history, what, offset, bytes))
          if (!wait) continue
          await Promise.all(under)
          under = []
        }
        await Promise.all(under)
      }),
      { numRuns: 150 },
    )
  })
})

async function ask(disk: BlockBackend, history: History, what: string, offset: number, bytes: Uint8Array) {
  const request = history.begin(what, offset, bytes)
  try {
    if (what === 'read') await disk.read(offset, bytes)
    else if (what === 'write') await disk.write!(offset, bytes)
    else if (what === 'zero') await disk.writeZeroes!(offset, bytes.length, true)
    else await disk.discard!(offset, bytes.length)
  } catch (error) {
    expect(error).toBeInstanceOf(BackendError)
    return request.failed()
  }
  expect(request.done()).toEqual([])
}
