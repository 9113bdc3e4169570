import { expect, test } from 'vitest'
import { bytes, bytesOf, milliseconds } from './amount.ts'

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

test('sizes are read as people write them', () => {
  expect(['16 MiB', ' 2g', '1.5 GB', '1,5 TiB', '512M', '20 kb'].map(bytesOf)).toEqual([
    2 ** 24,
    2 ** 31,
    1_500_000_000,
    1.5 * 2 ** 40,
    2 ** 29,
    20_000,
  ])
  expect(['', '12', 'GB', '1 XB', '-1 MB', '1 MB more', '0x10 MB'].map(bytesOf)).toEqual(Array(7).fill(undefined))
})

test('times below a second are shown in milliseconds', () => {
  expect([0.4, 999, 1000, 2345].map(milliseconds)).toEqual(['0 ms', '999 ms', '1.00 s', '2.35 s'])
})
