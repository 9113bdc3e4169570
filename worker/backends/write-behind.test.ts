import fc from 'fast-check'
import { afterEach, expect, test, vi } from 'vitest'
import { files } from '../../test/disk/unreliable-file.ts'
import { BLOCK } from './block-store.ts'
import { WriteBehind } from './write-behind.ts'

const BLOCKS = 40
const block = (value: number, count = 1) => new Uint8Array(count * BLOCK).fill(value)

/** A file of that many blocks and how often it was written to. */
function fileOf(blocks: number) {
  const { data } = files()
  data.write(new Uint8Array(blocks * BLOCK), { at: 0 })
  const write = vi.spyOn(data, 'write')
  return { data, write, behind: new WriteBehind(data) }
}
afterEach(() => void vi.useRealTimers())

test('small writes wait for the flush, and those that came in a row go together', () => {
  const { data, write, behind } = fileOf(BLOCKS)
  for (const at of [3, 4, 5, 9]) behind.write(block(at), { at: at * BLOCK })
  expect(write).not.toHaveBeenCalled()
  behind.flush()
  expect(write.mock.calls.map(([bytes, { at }]) => [at / BLOCK, bytes.length / BLOCK])).toEqual([
    [3, 3],
    [9, 1],
  ])
  const bytes = new Uint8Array(BLOCK)
  data.read(bytes, { at: 4 * BLOCK })
  expect(bytes).toEqual(block(4))
})

test('a write that makes the file longer, and a large one, do not wait', () => {
  const { write, behind } = fileOf(BLOCKS)
  behind.write(block(1), { at: BLOCKS * BLOCK })
  behind.write(block(1, 17), { at: 0 })
  expect(write).toHaveBeenCalledTimes(2)
  expect(behind.getSize()).toBe((BLOCKS + 1) * BLOCK)
})

test('left alone they are written out after a second, and before more than a megabyte waits', () => {
  vi.useFakeTimers()
  const { write, behind } = fileOf(300)
  behind.write(block(1), { at: 0 })
  vi.advanceTimersByTime(1000)
  expect(write).toHaveBeenCalledTimes(1)
  for (let at = 0; at < 257; at++) behind.write(block(2), { at: at * BLOCK })
  expect(write).toHaveBeenCalledTimes(2)
  behind.flush()
  expect(write).toHaveBeenCalledTimes(3)
  behind.close()
})

test('what could not be written out is kept, read as written, and tried again by the next flush', () => {
  const { write, behind } = fileOf(BLOCKS)
  behind.write(block(7), { at: BLOCK })
  behind.write(block(8), { at: 5 * BLOCK })
  write.mockImplementationOnce(() => {
    throw new Error('the medium fails')
  })
  expect(() => behind.flush()).toThrow('the medium fails')
  const bytes = new Uint8Array(BLOCK)
  behind.read(bytes, { at: BLOCK })
  expect(bytes).toEqual(block(7))
  behind.flush()
  expect(write).toHaveBeenCalledTimes(3)
})

test('reads are what was written last, whatever waits, is large, is cut off or fails', () => {
  const at = fc.nat(BLOCKS - 1)
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ write: at, count: fc.integer({ min: 1, max: 20 }) }) },
    { weight: 3, arbitrary: fc.record({ read: fc.nat(BLOCKS * 8 - 1), sectors: fc.integer({ min: 1, max: 100 }) }) },
    fc.constant({ flush: true }),
    fc.record({ truncate: at }),
    fc.constant({ fail: true }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      const { write, behind } = fileOf(BLOCKS)
      let model = new Uint8Array(BLOCKS * BLOCK)
      for (const [n, step] of steps.entries()) {
        if ('write' in step) {
          const bytes = block(n + 1, step.count)
          if (step.write * BLOCK > model.length) continue // it leaves no holes
          behind.write(bytes, { at: step.write * BLOCK })
          const longer = new Uint8Array(Math.max(model.length, step.write * BLOCK + bytes.length))
          longer.set(model)
          longer.set(bytes, step.write * BLOCK)
          model = longer
        } else if ('read' in step) {
          const found = new Uint8Array(Math.min(step.sectors * 512, Math.max(0, model.length - step.read * 512)))
          expect(behind.read(found, { at: step.read * 512 })).toBe(found.length)
          expect(Buffer.compare(found, model.subarray(step.read * 512, step.read * 512 + found.length))).toBe(0)
        } else if ('truncate' in step) {
          if (step.truncate * BLOCK > model.length) continue
          behind.truncate(step.truncate * BLOCK)
          model = model.slice(0, step.truncate * BLOCK)
        } else if ('fail' in step) {
          write.mockImplementationOnce(() => {
            throw new Error('the medium fails')
          })
          try {
            behind.flush()
          } catch {
            // It had something to write. All of it is still there.
          }
          write.mockReset()
        } else behind.flush()
      }
    }),
    { numRuns: 300 },
  )
})
