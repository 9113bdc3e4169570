import fc from 'fast-check'
import { expect, test } from 'vitest'
import { CrashModel, steps } from '../../test/disk/crash-model.ts'
import { files, Killed, Life, type UnreliableFile, type UnreliableFiles } from '../../test/disk/unreliable-file.ts'
import { BLOCK, BlockState, StorageFullError } from './block-store.ts'
import { OpfsStore } from './opfs.ts'

const block = (value: number, count = 1) => new Uint8Array(count * BLOCK).fill(value)
const remade = (old: UnreliableFiles, make: (file: UnreliableFile) => UnreliableFile): UnreliableFiles => ({
  data: make(old.data),
  index: [make(old.index[0]), make(old.index[1])],
})

test('a sparse disk takes the room of what was written', () => {
  const disk = files()
  const store = new OpfsStore(disk)
  store.write(1_000_000, block(1))
  store.write(5, block(2))
  store.flush()
  expect(disk.data.getSize()).toBe(2 * BLOCK)
  const again = new OpfsStore(remade(disk, file => file.afterKill()))
  const bytes = new Uint8Array(BLOCK)
  again.read(1_000_000 * BLOCK, bytes)
  expect(Buffer.compare(bytes, block(1))).toBe(0)
  expect(again.state(6)).toBe(BlockState.ABSENT)
})

test('whatever step it is killed at, flushed blocks are there and none is torn', async () => {
  await fc.assert(
    fc.asyncProperty(
      steps,
      fc.nat(150),
      fc.boolean(),
      fc.infiniteStream(fc.boolean()),
      async (work, last, power, chances) => {
        const model = new CrashModel()
        const disk = files(new Life(last))
        try {
          const store = new OpfsStore(disk)
          for (const step of work) await model.run(store, step)
          expect(await model.faults(store, true)).toEqual([])
        } catch (error) {
          if (!(error instanceof Killed) && !((error as Error).cause instanceof Killed)) throw error
        }
        const chance = () => chances.next().value!
        const after = remade(disk, file => (power ? file.afterPowerLoss(chance) : file.afterKill()))
        expect(await model.faults(new OpfsStore(after))).toEqual([])
      },
    ),
    { numRuns: 150 },
  )
})

test('the index is copied and shortened when most of it is history', () => {
  const disk = files()
  const store = new OpfsStore(disk)
  for (let i = 0; i < 3000; i++) {
    store.write(7, block(i & 0xff))
    store.flush()
    store.mark(7, 1, BlockState.ABSENT)
    store.flush()
  }
  expect(disk.index[0].getSize() + disk.index[1].getSize()).toBeLessThan(100_000)
  expect(disk.data.getSize()).toBeLessThanOrEqual(2 * BLOCK)
  expect(new OpfsStore(disk).generation).toBe(store.generation)
})

test('a full quota is said, loses nothing, and the write can be tried again', () => {
  const disk = files()
  const store = new OpfsStore(disk)
  store.write(0, block(1))
  store.flush()
  disk.data.room = 0
  expect(() => store.write(1, block(2))).toThrow(StorageFullError)
  expect(store.state(1)).toBe(BlockState.ABSENT)
  disk.data.room = BLOCK
  store.write(1, block(2))
  store.flush()
  const bytes = new Uint8Array(2 * BLOCK)
  store.read(0, bytes)
  expect(Buffer.compare(bytes, Buffer.concat([block(1), block(2)]))).toBe(0)
})

test('the index full at a flush: the flush fails, and a later one makes everything last', () => {
  const disk = files()
  const store = new OpfsStore(disk)
  store.write(0, block(1))
  disk.index[0].room = 4
  expect(() => store.flush()).toThrow(StorageFullError)
  disk.index[0].room = 1000
  store.flush()
  expect(new OpfsStore(remade(disk, file => file.afterPowerLoss(() => false))).state(0)).toBe(BlockState.DATA)
})

test('a data file that was cut is refused', () => {
  const disk = files()
  const store = new OpfsStore(disk)
  store.write(0, block(1, 3))
  store.flush()
  disk.data.truncate(BLOCK)
  expect(() => new OpfsStore(disk)).toThrow(/shorter than its index/)
})

test('reset leaves nothing, lastingly, and frees the room', () => {
  const disk = files()
  const store = new OpfsStore(disk)
  store.write(0, block(1, 3))
  store.flush()
  store.clear()
  expect(disk.data.getSize()).toBe(0)
  const again = new OpfsStore(remade(disk, file => file.afterPowerLoss(() => false)))
  expect(again.state(0)).toBe(BlockState.ABSENT)
})
