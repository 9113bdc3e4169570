import { describe, expect, test } from 'vitest'
import { Bucket, Tally } from './limits.ts'

describe('a bucket', () => {
  test('lets a second’s worth pass at once, and then as much as time brings', () => {
    const bucket = new Bucket(100, 0)
    expect(bucket.take(100, 0)).toBe(true)
    expect(bucket.take(1, 0)).toBe(false)
    expect(bucket.take(10, 100)).toBe(true)
    expect(bucket.take(1, 100)).toBe(false)
  })

  test('does not save up more than a second’s worth', () => {
    const bucket = new Bucket(10, 0)
    expect(bucket.take(11, 60_000)).toBe(false)
    expect(bucket.take(10, 60_000)).toBe(true)
  })
})

test('a tally has room for so many of each', () => {
  const tally = new Tally(2)
  expect([tally.add('a'), tally.add('a'), tally.add('a'), tally.add('b')]).toEqual([true, true, false, true])
  tally.remove('a')
  expect(tally.add('a')).toBe(true)
  expect(tally.add('a')).toBe(false)
})
