import { expect, test } from 'vitest'
import type { Window } from '../src/virtio/machine.ts'
import { SharedInterrupt } from './interrupt-lines.ts'
import { PirqRouter } from './pirq.ts'

function rig() {
  const space = new DataView(new ArrayBuffer(4))
  const bridge: Window = {
    length: 8,
    read: (offset, size) => (size === 1 ? space.getUint8(offset - 4) : space.getUint32(0, true)),
    write(offset, size, value) {
      if (offset < 4) return
      if (size === 1) space.setUint8(offset - 4, value)
      else space.setUint32(0, value, true)
    },
  }
  const up = new Set<number>()
  const irqs = Array.from(
    { length: 16 },
    (_, irq) => new SharedInterrupt(level => void (level ? up.add(irq) : up.delete(irq))),
  )
  const router = new PirqRouter(bridge, irq => irqs[irq]!.line())
  return { router, up: () => [...up].sort((a, b) => a - b) }
}

test('INTA# of a slot goes where its PIRQ input is routed, shared with every fourth slot', () => {
  const { router, up } = rig()
  router.configure([10, 11, 9, 5])
  const [four, five, eight] = [router.line(4), router.line(5), router.line(8)]
  four.set(true)
  eight.set(true)
  five.set(true)
  expect(up()).toEqual([5, 10])
  four.set(false)
  expect(up()).toEqual([5, 10])
  eight.set(false)
  expect(up()).toEqual([10])
})

test('an interrupt that is up moves with its route', () => {
  const { router, up } = rig()
  const line = router.line(5)
  line.set(true)
  expect(up()).toEqual([])
  router.configure([10, 10, 11, 11])
  expect(up()).toEqual([10])
  router.write(4, 1, 12) // the address is still that of the routes
  expect(up()).toEqual([12])
  router.write(4, 1, 0x80)
  expect(up()).toEqual([])
  router.write(4, 1, 3)
  expect(up()).toEqual([3])
  line.set(false)
  expect(up()).toEqual([])
})

test('inputs are not sent to IRQs that belong to the board', () => {
  const { router, up } = rig()
  const line = router.line(5)
  line.set(true)
  for (const irq of [0, 1, 2, 8, 13]) {
    router.configure([irq, 0, 0, 0])
    expect(up()).toEqual([])
  }
})

test('other configuration accesses leave the routes alone', () => {
  const { router, up } = rig()
  router.configure([10, 11, 9, 5])
  router.write(0, 4, 0x80000000)
  router.write(4, 4, 0x03030303)
  const line = router.line(5)
  line.set(true)
  expect(up()).toEqual([10])
})
