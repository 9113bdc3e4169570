import { expect, test } from 'vitest'
import { bytes, milliseconds } from './amount.ts'

test('bytes are shown in the largest unit that keeps them under a thousand', () => {
  expect([0, 999, 1000, 9_949, 9_951, 999_499, 999_501, 4_200_000, 2_000_000_000].map(bytes)).toEqual([
    '0 B',
    '999 B',
    '1.0 kB',
    '9.9 kB',
    '10 kB',
    '999 kB',
    '1.0 MB',
    '4.2 MB',
    '2.0 GB',
  ])
})

test('times below a second are shown in milliseconds', () => {
  expect([0.4, 999, 1000, 2345].map(milliseconds)).toEqual(['0 ms', '999 ms', '1.00 s', '2.35 s'])
})
