/** Drivers that keep all the rules: everything put in comes out once, whatever the framing, order and suppression. */

import fc from 'fast-check'
import { EchoDevice } from '../../src/conformance/echo.ts'
import { conformanceVariants } from '../../src/conformance/suite.ts'
import { run } from '../../src/driver/steps.ts'
import { TestBoard, TestMachine } from '../../src/driver/testing.ts'
import { Feature } from '../../src/virtio/core.ts'

const lengths = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 6 })
const action = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('add' as const),
      queue: fc.integer({ min: 0, max: 1 }),
      out: lengths,
      room: lengths,
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('kick' as const), queue: fc.integer({ min: 0, max: 1 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('answer' as const), which: fc.nat(100) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('take' as const), queue: fc.integer({ min: 0, max: 1 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('hold' as const), on: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('interrupts' as const),
      queue: fc.integer({ min: 0, max: 1 }),
      on: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('spurious' as const), queue: fc.integer({ min: 0, max: 1 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('reset' as const),
      queue: fc.integer({ min: 0, max: 1 }),
      size: fc.constantFrom(2, 4, 8),
    }),
  },
)
/** Requests before the script, so that its indices run over 65535: seldom, as they take their time. */
const before = fc.oneof(
  { weight: 150, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.integer({ min: 65500, max: 65536 }) },
)
export const validDriver = fc.record({
  variant: fc.constantFrom(...conformanceVariants),
  size: fc.constantFrom(2, 4, 8, 16, 64),
  refuse: fc.subarray([
    Feature.INDIRECT_DESC,
    Feature.EVENT_IDX,
    Feature.IN_ORDER,
    Feature.NOTIFICATION_DATA,
    Feature.NOTIFY_ON_EMPTY,
    Feature.RING_RESET,
  ]),
  before,
  actions: fc.array(action, { maxLength: 120 }),
})
type Script = typeof validDriver extends fc.Arbitrary<infer T> ? T : never

interface Request {
  readonly queue: number
  readonly out: Uint8Array
  readonly sources: readonly number[]
  readonly room: readonly { readonly address: number; readonly length: number }[]
  readonly serial: number
}

/** Runs a script against the echo device, and throws if anything that went in did not come out as it should. */
export function runValid({ variant, size, refuse, before, actions }: Script) {
  const device = new EchoDevice(size)
  const machine = new TestMachine(device, { ...variant, refuse }, new TestBoard(0x180000))
  const { arena, ram } = machine.board
  const rings = machine.bound.queues
  const expected: Request[][] = [[], []]
  const inOrder = machine.bound.has(Feature.IN_ORDER)
  const quiet = [false, false]
  let serial = 0

  const fail = (message: string): never => {
    throw new Error(message)
  }
  const take = (index: number) => {
    const used = rings[index]!.take()
    if (!used) return false
    const request = used.token as unknown as Request
    const at = expected[index]!.indexOf(request)
    if (at < 0) fail(`request ${request.serial} came back twice, or on the wrong queue`)
    if (inOrder && at !== 0) fail(`request ${request.serial} overtook another, in spite of IN_ORDER`)
    expected[index]!.splice(at, 1)
    const total = request.room.reduce((sum, { length }) => sum + length, 0)
    const wanted = Math.min(request.out.length, total)
    if (used.length !== wanted) fail(`request ${request.serial} says ${used.length} bytes, not ${wanted}`)
    const back = request.room.flatMap(({ address, length }) => [...ram.slice(address, length)])
    for (let i = 0; i < back.length; i++)
      if (back[i] !== (i < wanted ? request.out[i] : 0xee)) fail(`byte ${i} of request ${request.serial} is ${back[i]}`)
    return true
  }
  const kick = (index: number, always = false) => {
    for (const step of always ? rings[index]!.notify() : rings[index]!.kick()) void step
  }
  /** With interrupts wanted, nothing may lie in the used ring without one. */
  const listen = () => {
    const { line } = machine.plugged
    if (line.level) for (const step of machine.bound.interrupt()) void step
    if (line.level) fail('the line stays up')
  }
  const answerTo = (index: number) => {
    rings[index]!.callback = function* () {
      while (take(index));
    }
  }
  for (const index of rings.keys()) answerTo(index)
  for (let i = 0; i < before; i++) {
    const request: Request = {
      queue: 0,
      out: new Uint8Array(),
      sources: [],
      room: [{ address: 0, length: 0 }],
      serial: -1,
    }
    if (!rings[0]!.add([], [{ address: 8, length: 1 }], request as never))
      fail('a ring in which nothing is has no room')
    expected[0]!.push(request)
    kick(0)
    listen()
    if (expected[0]!.length > 0) fail(`request ${i} before the script did not come back`)
  }
  for (const act of actions) {
    if (act.do === 'add' && act.out.length + act.room.length > 0) {
      const out = act.out.map(length => Uint8Array.from({ length }, (_, i) => (serial * 7 + i * 3 + length) & 0xff))
      const sources = out.map(bytes => {
        const address = arena.allocate(bytes.length, 1)
        ram.write(address, bytes)
        return address
      })
      const room = act.room.map(length => {
        const address = arena.allocate(length, 1)
        ram.target(address, length).fill(0xee)
        return { address, length }
      })
      const bytes = Uint8Array.from(out.flatMap(part => [...part]))
      const request: Request = { queue: act.queue, out: bytes, sources, room, serial: serial++ }
      const readable = out.map((part, i) => ({ address: sources[i]!, length: part.length }))
      if (rings[act.queue]!.add(readable, room, request as never)) expected[act.queue]!.push(request)
    } else if (act.do === 'kick') kick(act.queue)
    else if (act.do === 'spurious') kick(act.queue, true)
    else if (act.do === 'take') take(act.queue)
    else if (act.do === 'hold') device.hold = act.on
    else if (act.do === 'answer' && device.held.length > 0)
      device.answer(device.held.splice(act.which % device.held.length, 1)[0]!)
    else if (act.do === 'interrupts') {
      quiet[act.queue] = !act.on
      const { ring } = rings[act.queue]!
      if (!act.on) ring.disableInterrupts()
      else if (!ring.enableInterrupts()) while (take(act.queue));
    } else if (act.do === 'reset' && machine.bound.has(Feature.RING_RESET)) {
      // What was in the queue is lost, to the driver as to the device; what the device still does with it shows nowhere.
      run(machine.bound.resetQueue(act.queue, act.size))
      expected[act.queue] = []
      quiet[act.queue] = false
      answerTo(act.queue)
    }
    listen()
    for (const [index, { ring }] of rings.entries())
      if (!quiet[index] && ring.enableInterrupts() === false)
        fail(`queue ${index} has used requests and no interrupt came`)
  }
  device.hold = false
  for (const index of [0, 1]) kick(index)
  for (const chain of device.held.splice(0)) device.answer(chain)
  listen()
  for (const index of [0, 1]) {
    while (take(index));
    if (expected[index]!.length > 0) fail(`${expected[index]!.length} requests of queue ${index} never came back`)
  }
}
