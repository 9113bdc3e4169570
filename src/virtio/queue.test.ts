import { describe, expect, test } from 'vitest'
import type { Chain } from './chain.ts'
import { ArrayMemory } from './machine.ts'
import { type RingFeatures, Virtqueue } from './queue.ts'

const SIZE = 8
const [DESC, DRIVER, DEVICE, BUFFERS] = [0x1000, 0x2000, 0x3000, 0x10000]
const { NEXT, WRITE, INDIRECT, AVAIL } = { NEXT: 1, WRITE: 2, INDIRECT: 4, AVAIL: 0x80 }

/** A queue in memory of its own; `offer` makes one descriptor available. */
function bench(features: Partial<RingFeatures> = {}) {
  const memory = new ArrayMemory(1 << 17)
  const { view } = memory
  const all = { packed: false, indirect: true, eventIndex: false, inOrder: false, notifyOnEmpty: false, ...features }
  const owner = { memory, used() {}, guard: (work: (queue: Virtqueue) => unknown, on: Virtqueue) => void work(on) }
  const queue = new Virtqueue(0, 'queue', SIZE, owner)
  Object.assign(queue, { desc: DESC, driver: DRIVER, device: DEVICE, ready: true })
  queue.start(all)
  const describe = (at: number, address: number, length: number, flags: number, other: number) => {
    view.setUint32(at, address, true)
    view.setUint32(at + 8, length, true)
    view.setUint16(at + 12, all.packed ? other : flags, true)
    view.setUint16(at + 14, all.packed ? flags : other, true)
  }
  let offered = 0
  const offer = (address: number, length: number, flags: number) => {
    const id = offered % SIZE
    describe(DESC + 16 * id, address, length, all.packed ? flags | AVAIL : flags, all.packed ? id : 0)
    view.setUint16(DRIVER + 4 + 2 * id, id, true)
    if (!all.packed) view.setUint16(DRIVER + 2, offered + 1, true)
    offered++
  }
  return { memory, queue, describe, offer, used: (i: number) => view.getUint32(DEVICE + 4 + 8 * i, true) }
}

describe.each([false, true])('packed: %s', packed => {
  test.each([0, 1, 2, 3])('§2.7.5.3: an indirect table may begin %d bytes into a word', odd => {
    const { queue, describe, offer } = bench({ packed })
    const table = 0x8000 + odd
    for (let i = 0; i < 20; i++) {
      const last = i === 19
      const flags = (i < 10 ? 0 : WRITE) | (last || packed ? 0 : NEXT)
      describe(table + 16 * i, BUFFERS + 0x100 * i, i + 1, flags, packed ? 0 : i + 1)
    }
    offer(table, 20 * 16, INDIRECT)
    const chain = queue.pop()!
    expect([chain.buffers, chain.slots, chain.readable, chain.writable]).toEqual([20, 1, 55, 155])
    const buffers = Array.from({ length: 20 }, (_, i) => [chain.bufferAddress(i), chain.bufferLength(i)])
    expect(buffers).toEqual(Array.from({ length: 20 }, (_, i) => [BUFFERS + 0x100 * i, i + 1]))
    chain.writer.bytes(new Uint8Array(155))
    chain.complete()
    expect(chain.written).toBe(155)
  })

  test('a chain is filled again only once it is completed', () => {
    const { queue, offer } = bench({ packed })
    for (let i = 0; i < 6; i++) offer(BUFFERS + 0x100 * i, 16 + i, WRITE)
    const held = [queue.pop()!, queue.pop()!, queue.pop()!]
    expect(new Set(held).size).toBe(3)
    expect(held.map(({ writable }) => writable)).toEqual([16, 17, 18])
    held[1]!.complete()
    const more = [queue.pop()!, queue.pop()!]
    expect(held.filter(chain => more.includes(chain))).toEqual([held[1]])
    expect([held[0]!.writable, held[2]!.writable]).toEqual([16, 18])
    expect(more.map(({ writable, writer, written }) => [writable, writer.left, written])).toEqual([
      [19, 19, 0],
      [20, 20, 0],
    ])
  })

  test('R1: after a reset an old chain neither writes nor comes back, and is not filled again before it is let go', () => {
    const { memory, queue, offer } = bench({ packed })
    offer(BUFFERS, 16, WRITE)
    const old = queue.pop()!
    queue.reset()
    expect([old.live, old.completed]).toEqual([false, false])
    old.writer.bytes(Uint8Array.of(1, 2, 3))
    old.complete()
    expect([...memory.slice(BUFFERS, 3)]).toEqual([0, 0, 0])
    expect(memory.view.getUint16(DEVICE + 2, true)).toBe(0)
    expect(() => old.complete()).toThrow('completed twice')
  })
})

test('what a device writes into a chain it has completed goes nowhere', () => {
  const { memory, queue, offer } = bench()
  offer(BUFFERS, 16, WRITE)
  const chain = queue.pop()!
  const { writer } = chain
  chain.complete()
  writer.bytes(Uint8Array.of(9))
  expect(memory.bytes[BUFFERS]).toBe(0)
})

test('§2.7.9: with IN_ORDER a chain that waits for its turn keeps what it says', () => {
  const { queue, offer, used } = bench({ inOrder: true })
  for (let i = 0; i < 5; i++) offer(BUFFERS + 0x100 * i, 16, WRITE)
  const chains: Chain[] = []
  for (let i = 0; i < 5; i++) {
    chains.push(queue.pop()!)
    if (i > 0) chains[i]!.complete()
  }
  expect(new Set(chains).size).toBe(5)
  expect(used(0)).toBe(0)
  chains[0]!.complete()
  expect([0, 1, 2, 3, 4].map(used)).toEqual([0, 1, 2, 3, 4])
})

test('§2.8.21: a driver that polls and comes round twice while completions are held is interrupted at their end', () => {
  const { memory, queue, describe } = bench({ packed: true, eventIndex: true })
  let interrupts = 0
  Object.assign(queue, { owner: { memory, used: () => interrupts++, guard: () => {} } })
  memory.view.setUint16(DRIVER, 5 | 0x8000, true) // an interrupt for descriptor 5 of the first lap
  memory.view.setUint16(DRIVER + 2, 2, true)
  const release = queue.hold()
  for (let i = 0; i < 2 * SIZE; i++) {
    const lap = i < SIZE ? AVAIL : 0x8000
    describe(DESC + 16 * (i % SIZE), BUFFERS, 16, WRITE | lap, i % SIZE)
    queue.pop()!.complete()
  }
  release()
  expect(interrupts).toBe(1)
})
