import { expect, test } from 'vitest'
import { SharedInterrupt } from './interrupt-lines.ts'

test('H50: an input is up while any of its sharers holds it up', () => {
  const levels: boolean[] = []
  const input = new SharedInterrupt(level => levels.push(level))
  const [a, b] = [input.line(), input.line()]
  a.set(true)
  b.set(true)
  a.set(true)
  a.set(false)
  expect(levels).toEqual([true])
  b.set(false)
  b.set(false)
  expect(levels).toEqual([true, false])
})
