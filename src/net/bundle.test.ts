import fc from 'fast-check'
import { expect, test } from 'vitest'
import { BUNDLE_LIMIT, Bundler, bundle, unbundle } from './bundle.ts'

const frame = (length: number, value = 7) => new Uint8Array(length).fill(value)
const hex = (frames: readonly Uint8Array[]) => frames.map(one => Buffer.from(one).toString('hex'))

test('frames come out of a bundle as they went in', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 1514 }), { maxLength: 40 }), frames => {
      expect(hex(unbundle(bundle(frames))!)).toEqual(hex(frames))
    }),
  )
})

test('an empty bundle is a frame that any bridge keeps to itself', () => {
  const message = bundle([])
  expect(message.length).toBe(60)
  expect(hex([message.subarray(0, 14)])).toEqual(['0180c200000e00000000000088b5'])
  expect(unbundle(message)).toEqual([])
})

test('a frame is no bundle, and any bytes at all are read without harm', () => {
  expect(unbundle(frame(60))).toBeUndefined()
  const whole = bundle([frame(100), frame(200)])
  for (let length = 0; length <= whole.length; length++)
    expect(unbundle(whole.subarray(0, length))?.length ?? 0).toBe(length < 116 ? 0 : length < 318 ? 1 : 2)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), noise => {
      const message = bundle([])
      message.set(noise.subarray(0, 46), 14)
      for (const one of unbundle(message)!) expect(one.length).toBeGreaterThan(0)
    }),
  )
})

test('a bundler sends what it gathered in messages of at most 64 KiB, a lone frame as it is', () => {
  const sent: Uint8Array[] = []
  const bundler = new Bundler(message => sent.push(message))
  bundler.flush()
  bundler.add(frame(60))
  bundler.flush()
  expect(hex(sent.splice(0))).toEqual(hex([frame(60)]))
  for (let i = 0; i < 100; i++) bundler.add(frame(1514, i))
  bundler.flush()
  expect(Math.max(...sent.map(({ length }) => length))).toBeLessThanOrEqual(BUNDLE_LIMIT)
  expect(sent.length).toBe(3)
  expect(hex(sent.splice(0).flatMap(message => unbundle(message)!))).toEqual(
    hex(Array.from({ length: 100 }, (_, i) => frame(1514, i))),
  )
  bundler.add(frame(60))
  bundler.add(frame(65_600))
  expect(sent.map(({ length }) => length)).toEqual([60, 65_600])
})
