import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { setImmediate } from 'node:timers/promises'
import { beforeAll, expect, test } from 'vitest'
import type { Window } from '../src/virtio/machine.ts'
import { Board, type BoardEvents, TripleFault } from './v86.ts'

let wasm: WebAssembly.Module
beforeAll(async () => {
  wasm = await WebAssembly.compile(await readFile(createRequire(import.meta.url).resolve('v86/build/v86.wasm')))
})

const MEMORY = 16 << 20
const CODE = 0x100000
const STACK = 0x9000

async function board(events: Partial<BoardEvents> = {}) {
  const none: BoardEvents = { wake: () => {}, halted: () => {}, reset: () => {}, serial: () => {}, fault: () => {} }
  return Board.create({ memory: MEMORY, wasm }, { ...none, ...events })
}

/** Starts these bytes of machine code, in flat 32-bit protected mode. */
function start(target: Board, code: readonly number[]) {
  const data = { selector: 0x18, base: 0, limit: 0xffffffff, access: 0x93 }
  const gdt = new Uint32Array([0, 0, 0, 0, 0xffff, 0x00cf9b00, 0xffff, 0x00cf9300])
  target.load({
    segments: [
      { name: 'code', address: CODE, bytes: Uint8Array.from(code), length: code.length },
      { name: 'GDT', address: 0x8000, bytes: new Uint8Array(gdt.buffer), length: 32 },
    ],
    cpu: {
      ...{ eip: CODE, esi: 0, esp: STACK, cr0: 0x11, eflags: 2, gdtr: { base: 0x8000, limit: 31 } },
      ...{ cs: { ...data, selector: 0x10, access: 0x9b }, data },
    },
  })
}
/** With turns in between: translated code is compiled in the background. */
const run = async (target: Board, until: () => boolean, slices = 2000) => {
  while (!until() && slices-- > 0) {
    target.slice()
    await setImmediate()
  }
  expect(until()).toBe(true)
}

const le = (value: number, size = 4) => Array.from({ length: size }, (_, i) => (value >>> (8 * i)) & 0xff)
const HLT_FOREVER = [0xfa, 0xf4]

/** Remembers every access; reads answer their offset. */
function recorder(length: number) {
  const accesses: unknown[] = []
  const window: Window = {
    length,
    read: (offset, size) => {
      accesses.push(['read', offset, size])
      return offset + 0xa0b0c000
    },
    write: (offset, size, value) => void accesses.push(['write', offset, size, value]),
  }
  return { accesses, window }
}

test('device windows see stores of 1, 2 and 4 bytes as what they are', async () => {
  let halted = false
  const target = await board({ halted: () => void (halted = true) })
  const { accesses, window } = recorder(0x200)
  target.mapMemory(0xd0001000, window)
  start(target, [
    ...[0xbb, ...le(0xd0001000)], // mov ebx, window
    ...[0xc6, 0x43, 0x10, 0x7f], // mov byte [ebx+0x10], 0x7f
    ...[0x66, 0xc7, 0x43, 0x12, ...le(0x8765, 2)], // mov word [ebx+0x12], 0x8765
    ...[0xc7, 0x43, 0x14, ...le(0xdeadbeef)], // mov dword [ebx+0x14], 0xdeadbeef
    ...[0x8b, 0x43, 0x20, 0xa3, ...le(0x2000)], // mov eax, [ebx+0x20]; mov [0x2000], eax
    ...HLT_FOREVER,
  ])
  await run(target, () => halted)
  expect(accesses).toEqual([
    ['write', 0x10, 1, 0x7f],
    ['write', 0x12, 2, 0x8765],
    ['write', 0x14, 4, 0xdeadbeef],
    ['read', 0x20, 4],
  ])
  expect(target.memory.view.getUint32(0x2000, true)).toBe(0xa0b0c020)
})

test('a 2-byte store beside our windows still reaches v86’s own devices as it did before', async () => {
  let halted = false
  const target = await board({ halted: () => void (halted = true) })
  start(target, [
    0x66,
    0xc7,
    0x05,
    ...le(0xb8000),
    0x41,
    0x07,
    0xa1,
    ...le(0xb8000),
    0xa3,
    ...le(0x2000),
    ...HLT_FOREVER,
  ])
  await run(target, () => halted)
  expect(target.memory.view.getUint16(0x2000, true)).not.toBe(0)
})

test('several windows share a block, and what was there comes back when they go', async () => {
  const target = await board()
  const read = async () => {
    start(target, [
      0xa1,
      ...le(0xd0001000),
      0xa3,
      ...le(0x2000),
      0xa1,
      ...le(0xd0003000),
      0xa3,
      ...le(0x2004),
      ...HLT_FOREVER,
    ])
    target.slice()
    const values = [0x2000, 0x2004].map(at => target.memory.view.getUint32(at, true))
    await target.reset()
    return values
  }
  const remove = [0xd0001000, 0xd0003000].map(at => target.mapMemory(at, recorder(0x1000).window))
  expect(await read()).toEqual([0xa0b0c000, 0xa0b0c000])
  remove[0]!()
  remove[0]!()
  expect(await read()).toEqual([0xffffffff, 0xa0b0c000])
  remove[1]!()
  expect(await read()).toEqual([0xffffffff, 0xffffffff])
})

test('ports answer 1, 2 and 4 bytes, pass on what they cover, and give it back', async () => {
  let halted = false
  const target = await board({ halted: () => void (halted = true) })
  const { accesses, window } = recorder(8)
  const before = target.ports(0xcf8, 8)
  const remove = target.mapPorts(0xc000, window)
  start(target, [
    ...[0xb8, ...le(0x12345678), 0x66, 0xba, ...le(0xc004, 2)], // mov eax, …; mov dx, 0xc004
    ...[0xee, 0x66, 0xef, 0xef], // out dx, al; out dx, ax; out dx, eax
    ...[0xed, 0xa3, ...le(0x2000)], // in eax, dx; mov [0x2000], eax
    ...HLT_FOREVER,
  ])
  await run(target, () => halted)
  expect(accesses).toEqual([
    ['write', 4, 1, 0x78],
    ['write', 4, 2, 0x5678],
    ['write', 4, 4, 0x12345678],
    ['read', 4, 4],
  ])
  remove()
  expect(target.ports(0xc000, 8).read(4, 4)).toBe(0xffffffff)
  before.write(0, 4, 0x80000000)
  expect(before.read(4, 4)).toBe(0x12378086) // v86's host bridge, 00:00.0
})

test('an interrupt raised inside a store of hot code leaves that code’s registers alone', async () => {
  let halted = false
  const target = await board({ halted: () => void (halted = true) })
  const line = target.line(5)
  let raised = 0
  let level = false
  target.mapMemory(0xd0000000, {
    length: 0x200,
    read: () => Number(level),
    write: offset => {
      level = offset === 0x50
      if (level) raised++
      line.set(level)
    },
  })
  const HANDLER = 0x40
  const ROUNDS = 300_000
  const gate = le(((CODE + HANDLER) & 0xffff) | (0x10 << 16)).concat(le(0x8e00 | ((CODE + HANDLER) & 0xffff0000)))
  const handler = [
    ...[0x50, 0xff, 0x05, ...le(0x2000)], // push eax; inc dword [0x2000]
    ...[0xc7, 0x05, ...le(0xd0000064), ...le(1)], // mov dword [window+0x64], 1
    ...[0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf], // mov al, 0x20; out 0x20, al; pop eax; iret
  ]
  const body = [
    ...[0x0f, 0x01, 0x1d, ...le(0x3000)], // lidt [0x3000]
    ...[0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x20, 0xe6, 0x21, 0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21], // interrupts at 0x20
    ...[0xb0, 0xdf, 0xe6, 0x21], // all masked but 5
    ...[0xbb, ...le(0xd0000000), 0xb9, ...le(ROUNDS)], // mov ebx, window; mov ecx, ROUNDS
    ...[0x31, 0xf6, 0x31, 0xff, 0xfb], // xor esi, esi; xor edi, edi; sti
    ...[0x46, 0x83, 0xc7, 0x03, 0x89, 0x73, 0x50, 0x49, 0x75, 0xf6], // inc esi; add edi, 3; mov [ebx+0x50], esi; dec ecx; jnz
    ...[0x8b, 0x43, 0x60, 0x85, 0xc0, 0x75, 0xf9], // until the last one is handled: mov eax, [ebx+0x60]; test eax, eax; jnz
    ...[0x89, 0x35, ...le(0x2004), 0x89, 0x3d, ...le(0x2008), 0x89, 0x25, ...le(0x200c)], // store esi, edi, esp
    ...HLT_FOREVER,
  ]
  start(target, [0xe9, ...le(HANDLER + handler.length - 5), ...Array(HANDLER - 5).fill(0x90), ...handler, ...body])
  target.memory.write(0x3000, Uint8Array.from([...le(0x7ff, 2), ...le(0x4000)]))
  target.memory.write(0x4000 + 8 * 0x25, Uint8Array.from(gate))
  await run(target, () => halted)
  const [interrupts, esi, edi, esp] = [0, 4, 8, 12].map(at => target.memory.view.getUint32(0x2000 + at, true))
  expect([esi, edi, esp, raised]).toEqual([ROUNDS, 3 * ROUNDS, STACK, ROUNDS])
  expect(interrupts).toBeGreaterThan(0)
})

test('an interrupt from outside wakes a sleeping CPU in its next slice', async () => {
  let woken = 0
  const target = await board({ wake: () => void woken++ })
  const line = target.line(5)
  const HANDLER = 0x40
  const gate = le(((CODE + HANDLER) & 0xffff) | (0x10 << 16)).concat(le(0x8e00 | ((CODE + HANDLER) & 0xffff0000)))
  const body = [
    ...[0x0f, 0x01, 0x1d, ...le(0x3000)],
    ...[0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x20, 0xe6, 0x21, 0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21],
    ...[0xb0, 0xdf, 0xe6, 0x21, 0xfb, 0xf4, 0xeb, 0xfd], // sti; hlt; again
  ]
  start(target, [...body, ...Array(HANDLER - body.length).fill(0x90), 0xff, 0x05, ...le(0x2000), 0xfa, 0xf4])
  target.memory.write(0x3000, Uint8Array.from([...le(0x7ff, 2), ...le(0x4000)]))
  target.memory.write(0x4000 + 8 * 0x25, Uint8Array.from(gate))
  expect(target.slice()).toBeGreaterThan(0)
  expect(target.memory.view.getUint32(0x2000, true)).toBe(0)
  line.set(true)
  expect(woken).toBe(1)
  target.slice()
  expect(target.memory.view.getUint32(0x2000, true)).toBe(1)
})

test('a store through guest memory drops the code translated from what was there', async () => {
  let halted = false
  const target = await board({ halted: () => void (halted = true) })
  // mov ecx, 1000000; again: dec ecx; jnz again; mov eax, 1; mov [0x2000], eax
  const loop = [0xb9, ...le(1_000_000), 0x49, 0x75, 0xfd, 0xb8, ...le(1), 0xa3, ...le(0x2000)]
  start(target, [...loop, 0xe9, ...le(-loop.length - 5)])
  await run(target, () => target.memory.view.getUint32(0x2000, true) === 1)
  for (let i = 0; i < 50; i++) {
    target.slice()
    await setImmediate()
  }
  target.memory.write(CODE + loop.length, Uint8Array.from(HLT_FOREVER))
  await run(target, () => halted)
})

test('devices may not touch the video and firmware hole, nor what lies beyond RAM', async () => {
  const { memory } = await board()
  expect(memory.size).toBe(MEMORY)
  expect(memory.has(0, 0xa0000)).toBe(true)
  expect(memory.has(0, 0xa0001)).toBe(false)
  expect(memory.has(0xfffff, 1)).toBe(false)
  expect(memory.has(0x100000, MEMORY - 0x100000)).toBe(true)
  expect(memory.has(0x90000, 0x80000)).toBe(false)
  expect(memory.has(MEMORY, 1)).toBe(false)
  expect(memory.has(MEMORY - 4, 2 ** 53)).toBe(false)
  expect(memory.has(-1, 1)).toBe(false)
})

test('a fault that cannot be delivered is a triple fault', async () => {
  const target = await board()
  start(target, [0x0f, 0x0b]) // ud2, without an interrupt table
  expect(() => target.slice()).toThrow(TripleFault)
})

test('the keyboard controller’s reset line and port 0xCF9 reset the machine', async () => {
  let resets = 0
  const target = await board({ reset: () => void resets++ })
  start(target, [0xb0, 0xfe, 0xe6, 0x64, 0xeb, 0xfe])
  target.slice()
  expect(resets).toBe(1)
  await target.reset()
  start(target, [0x66, 0xba, ...le(0xcf9, 2), 0xb0, 0x02, 0xee, 0xb0, 0x06, 0xee, 0xeb, 0xfe])
  target.slice()
  expect(resets).toBe(2)
})

test('after a reset memory is zero and the machine starts as new', async () => {
  let halted = 0
  const target = await board({ halted: () => void halted++ })
  const program = [0xff, 0x05, ...le(0x2000), ...HLT_FOREVER] // inc dword [0x2000]
  for (let round = 1; round <= 3; round++) {
    start(target, program)
    await run(target, () => halted === round)
    expect(target.memory.view.getUint32(0x2000, true)).toBe(1)
    await target.reset()
    expect(target.memory.slice(CODE, program.length).every(byte => byte === 0)).toBe(true)
  }
})

test('what a device throws is reported and does not unwind the CPU', async () => {
  const faults: unknown[] = []
  let halted = false
  const target = await board({ fault: error => faults.push(error), halted: () => void (halted = true) })
  target.mapMemory(0xd0000000, {
    length: 4,
    read: () => {
      throw new Error('broken')
    },
    write: () => {},
  })
  start(target, [0xa1, ...le(0xd0000000), 0xa3, ...le(0x2000), ...HLT_FOREVER])
  await run(target, () => halted)
  expect(faults).toEqual([new Error('broken')])
  expect(target.memory.view.getUint32(0x2000, true)).toBe(0xffffffff)
})
