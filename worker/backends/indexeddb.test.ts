import 'fake-indexeddb/auto'
import { forceCloseDatabase } from 'fake-indexeddb'
import fc from 'fast-check'
import { afterEach, expect, type MockInstance, test, vi } from 'vitest'
import { CrashModel, steps } from '../../test/disk/crash-model.ts'
import { BlockCache } from './block-cache.ts'
import { BLOCK, BlockState, StorageFullError } from './block-store.ts'
import { IndexedDbStore } from './indexeddb.ts'

let names = 0
const fresh = () => `disk-${++names}`
const block = (value: number, count = 1) => new Uint8Array(count * BLOCK).fill(value)
const readBlock = async (store: IndexedDbStore, number: number) => {
  const bytes = new Uint8Array(BLOCK)
  await store.read(number * BLOCK, bytes)
  return bytes[0]
}
afterEach(() => {
  vi.restoreAllMocks()
})

/** Lets `steps` calls into the database through, and then none: what was not committed is undone. */
function killAfter(steps: number) {
  const dead = () => {
    throw new DOMException('the process is gone', 'AbortError')
  }
  for (const [prototype, method] of [
    [IDBObjectStore.prototype, 'put'],
    [IDBObjectStore.prototype, 'delete'],
    [IDBTransaction.prototype, 'commit'],
    [IDBDatabase.prototype, 'transaction'],
  ] as const) {
    const real = (prototype as unknown as Record<string, (...args: unknown[]) => unknown>)[method]!
    const spy = vi.spyOn(prototype as never, method as never) as unknown as MockInstance<
      (...args: unknown[]) => unknown
    >
    spy.mockImplementation(function (this: unknown, ...args: unknown[]) {
      if (steps-- > 0) return real.apply(this, args)
      const tx = this instanceof IDBObjectStore ? this.transaction : this instanceof IDBTransaction ? this : undefined
      try {
        tx?.abort()
      } catch {
        // it was over already
      }
      return dead()
    })
  }
}

test('whatever call into the database it is killed at, flushed blocks are there and none is torn', async () => {
  await fc.assert(
    fc.asyncProperty(steps, fc.nat(120), fc.integer({ min: 1, max: 12 }), async (work, last, gather) => {
      const model = new CrashModel()
      const name = fresh()
      const store = await IndexedDbStore.open(name, { gather, idle: 0 })
      killAfter(last)
      let killed = false
      for (const step of work) {
        await model.run(store, step).catch(() => (killed = true))
        if (killed) break
      }
      if (!killed) expect(await model.faults(store, true).catch(() => [])).toEqual([])
      vi.restoreAllMocks()
      const after = await IndexedDbStore.open(name, { idle: 0 })
      expect(await model.faults(after)).toEqual([])
    }),
    { numRuns: 60 },
  )
})

test('writes complete at once, and flush is one strict transaction that ends with a generation', async () => {
  const store = await IndexedDbStore.open(fresh(), { idle: 0 })
  const transaction = vi.spyOn(IDBDatabase.prototype, 'transaction')
  const put = vi.spyOn(IDBObjectStore.prototype, 'put')
  expect(store.write(3, block(7, 2))).toBeUndefined()
  expect(transaction).not.toHaveBeenCalled()
  await store.flush()
  expect(transaction.mock.calls.map(([, mode, options]) => [mode, options])).toEqual([
    ['readwrite', { durability: 'strict' }],
  ])
  expect(put.mock.calls.at(-1)).toEqual([1, 'generation'])
})

test('a flush after relaxed write-outs commits strictly though nothing is left to write', async () => {
  const store = await IndexedDbStore.open(fresh(), { idle: 0, gather: 1 })
  store.write(0, block(1))
  await new Promise(resolve => setTimeout(resolve, 20))
  const transaction = vi.spyOn(IDBDatabase.prototype, 'transaction')
  await store.flush()
  expect(transaction.mock.calls[0]?.[2]).toEqual({ durability: 'strict' })
  expect(store.flush()).toBeUndefined()
})

test('a lost connection is opened again, once, and nothing is lost', async () => {
  const store = await IndexedDbStore.open(fresh(), { idle: 0 })
  store.write(0, block(5))
  forceCloseDatabase((store as unknown as { db: IDBDatabase }).db as never)
  await store.flush()
  forceCloseDatabase((store as unknown as { db: IDBDatabase }).db as never)
  expect(await readBlock(store, 0)).toBe(5)
})

test('a full quota fails the flush, keeps the blocks, and a later flush makes them last', async () => {
  const name = fresh()
  const store = await IndexedDbStore.open(name, { idle: 0 })
  store.write(0, block(5))
  vi.spyOn(IDBObjectStore.prototype, 'put').mockImplementation(function (this: IDBObjectStore) {
    throw new DOMException('full', 'QuotaExceededError')
  })
  await expect(store.flush()).rejects.toThrow(StorageFullError)
  vi.restoreAllMocks()
  store.write(1, block(6))
  await store.flush()
  const again = await IndexedDbStore.open(name, { idle: 0 })
  expect([await readBlock(again, 0), await readBlock(again, 1)]).toEqual([5, 6])
})

test('memory is bounded: a write beyond the limit waits, and fails if it cannot be written out', async () => {
  const store = await IndexedDbStore.open(fresh(), { idle: 0, gather: 2, limit: 4 })
  const put = vi.spyOn(IDBObjectStore.prototype, 'put').mockImplementation(() => {
    throw new DOMException('full', 'QuotaExceededError')
  })
  for (let i = 0; i < 3; i++) expect(store.write(i, block(1))).toBeUndefined()
  await expect(store.write(3, block(1))).rejects.toThrow(StorageFullError)
  put.mockRestore()
  await store.write(3, block(1))
})

test('the state of every block is known again after opening', async () => {
  const name = fresh()
  const store = await IndexedDbStore.open(name, { idle: 0 })
  store.write(20_000, block(1, 3))
  store.mark(20_001, 1, BlockState.ZERO)
  await store.flush()
  store.mark(20_002, 1, BlockState.ABSENT)
  await store.close()
  const again = await IndexedDbStore.open(name, { idle: 0 })
  expect([20_000, 20_001, 20_002, 3].map(n => again.state(n))).toEqual([2, 1, 0, 0])
  again.write(20_001, block(9))
  await again.close()
  const third = await IndexedDbStore.open(name, { idle: 0 })
  expect(await readBlock(third, 20_001)).toBe(9)
  await third.clear()
  expect((await IndexedDbStore.open(name)).state(20_000)).toBe(0)
})

test('what was read or stored lately is read again within the call, up to a limit', async () => {
  const name = fresh()
  const store = await IndexedDbStore.open(name, { idle: 0, cache: 2 })
  store.write(0, block(1, 3))
  await store.flush()
  const now = (store: IndexedDbStore, number: number) => store.readNow(number * BLOCK, new Uint8Array(BLOCK))
  expect([0, 1, 2].map(number => now(store, number))).toEqual([false, true, true])
  await store.close()
  const again = await IndexedDbStore.open(name, { idle: 0, cache: 2 })
  expect(now(again, 1)).toBe(false)
  expect(await readBlock(again, 1)).toBe(1)
  expect(now(again, 1)).toBe(true)
  again.write(1, block(9))
  await again.flush()
  expect(await readBlock(again, 1)).toBe(9)
  await again.clear()
  expect(now(again, 1)).toBe(false)
})

test('a block that is written while it is fetched is not remembered as it was', async () => {
  const name = fresh()
  const store = await IndexedDbStore.open(name, { idle: 0, cache: 0 })
  store.write(0, block(1))
  await store.close()
  const again = await IndexedDbStore.open(name, { idle: 0 })
  const fetching = readBlock(again, 0)
  await Promise.resolve()
  again.write(0, block(2))
  again.mark(0, 1, BlockState.ZERO)
  again.write(0, block(3))
  await Promise.all([again.flush(), fetching])
  expect(await readBlock(again, 0)).toBe(3)
})

test('blocks in memory are let go of once nobody reads', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  try {
    const cache = new BlockCache(8, 1000)
    cache.put(1, block(1))
    vi.advanceTimersByTime(900)
    expect(cache.get(1)).toBeDefined()
    vi.advanceTimersByTime(1000)
    expect(cache.size).toBe(1)
    vi.advanceTimersByTime(1000)
    expect(cache.size).toBe(0)
  } finally {
    vi.useRealTimers()
  }
})

test('reads through a small cache equal a model disk, whatever is written meanwhile', async () => {
  const blocks = 6
  const step = fc.tuple(
    fc.constantFrom('read', 'write', 'mark', 'flush'),
    fc.nat(blocks - 1),
    fc.integer({ min: 1, max: 250 }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.nat(4), async (steps, cache) => {
      const store = await IndexedDbStore.open(fresh(), { idle: 0, gather: 3, cache })
      const model = new Array<number>(blocks).fill(0)
      const waits: Promise<unknown>[] = []
      for (const [what, number, value] of steps) {
        if (what === 'write') waits.push(Promise.resolve(store.write(number, block((model[number] = value)))))
        else if (what === 'mark') {
          store.mark(number, 1, BlockState.ZERO)
          model[number] = 0
        } else if (what === 'flush') waits.push(Promise.resolve(store.flush()))
        else if (value % 2) await Promise.resolve()
        else if (model[number]) {
          const read = readBlock(store, number)
          if (value % 4) expect(await read).toBe(model[number])
          else waits.push(read)
        }
      }
      await Promise.all(waits)
      for (const [number, value] of model.entries()) if (value) expect(await readBlock(store, number)).toBe(value)
      await store.close()
    }),
  )
})
