import { expect, test } from 'vitest'
import type { Window } from '../src/virtio/machine.ts'
import { MemoryWindows } from './memory-windows.ts'

const window = (length: number): Window => ({ length, read: () => 0, write: () => {} })

test('a window answers for its bytes and for nothing beside them', () => {
  const windows = new MemoryWindows()
  const [short, long] = [window(0x200), window(0x3000)]
  windows.add(0xd0000000, short)
  windows.add(0xd0001000, long)
  expect(windows.at(0xd00001ff)?.window).toBe(short)
  expect(windows.at(0xd0000200)).toBeUndefined()
  expect(windows.at(0xd0003fff)).toEqual({ window: long, base: 0xd0001000 })
  expect(windows.at(0xd0004000)).toBeUndefined()
})

test('where two overlap the later one answers, and taking it away uncovers the other', () => {
  const windows = new MemoryWindows()
  const [under, over] = [window(0x2000), window(0x1000)]
  windows.add(0xc0000000, under)
  const remove = windows.add(0xc0001000, over)
  expect(windows.at(0xc0000000)?.window).toBe(under)
  expect(windows.at(0xc0001000)?.window).toBe(over)
  remove()
  expect(windows.at(0xc0001000)?.window).toBe(under)
})

test('a window that does not start a page is our mistake', () => {
  expect(() => new MemoryWindows().add(0xd0000200, window(0x200))).toThrow('cannot start inside a page')
})
