import { expect, test } from 'vitest'
import { EntropyDevice } from '../devices/entropy.ts'
import type { Window } from '../virtio/machine.ts'
import { EmptySlot } from '../virtio/mmio.ts'
import { Capability, PciTransport } from '../virtio/pci.ts'
import { Header, type PciFunction } from '../virtio/pci-config.ts'
import { probeMmio } from './mmio.ts'
import { type PciProbeOptions, probePci } from './pci.ts'
import { run } from './steps.ts'
import { TestBoard, type TransportName } from './testing.ts'

const entropy = () => new EntropyDevice({ fill: () => {} })
const registers = (values: Record<number, number>): Window => ({
  length: 0x200,
  read: offset => values[offset] ?? 0,
  write: () => {},
})
const MAGIC = 0x74726976

// ---- mmio ----

test('mmio: a wrong magic value is ENODEV', () => {
  expect(() => run(probeMmio(registers({ 0: 0x12345678 })))).toThrow('Wrong magic value 0x12345678! (-ENODEV)')
})
test.each([0, 3])('mmio: version %i is ENXIO', version => {
  expect(() => run(probeMmio(registers({ 0: MAGIC, 4: version, 8: 4 })))).toThrow(/not supported! \(-ENXIO\)/)
})
test('mmio: device 0 is a placeholder, and no error', () => {
  expect(() => run(probeMmio(new EmptySlot()))).toThrow(expect.objectContaining({ code: 'ENODEV', number: -19 }))
})
test.each([
  [1, true],
  [2, false],
])('mmio: version %i', (version, legacy) => {
  const found = run(probeMmio(registers({ 0: MAGIC, 4: version, 8: 4, 12: 99 })))
  expect(found).toMatchObject({ legacy, id: { device: 4, vendor: 99 } })
})
test('mmio: version 1 is told the page size', () => {
  const writes: [number, number][] = []
  const window = {
    ...registers({ 0: MAGIC, 4: 1, 8: 4 }),
    write: (at: number, _: number, v: number) => writes.push([at, v]),
  }
  run(probeMmio(window as unknown as Window))
  expect(writes).toEqual([[0x28, 4096]])
})
test.each([
  [64, 0],
  [32, 0],
  [0, 1],
])('mmio and pci: DMA falls back from 64 to 32 bits, and goes on without (%i)', (most, lines) => {
  const asked: number[] = []
  const log: string[] = []
  const dma = (bits: number) => asked.push(bits) > 0 && bits <= most
  run(probeMmio(registers({ 0: MAGIC, 4: 2, 8: 4 }), { dma, log: line => log.push(line) }))
  expect(asked).toEqual(most === 64 ? [64] : [64, 32])
  expect(log.length).toBe(lines)
})

test('mmio and pci: a legacy interface asks for rings where its page numbers reach', () => {
  const asked: number[] = []
  const dma = (bits: number) => asked.push(bits) > 0
  run(probeMmio(registers({ 0: MAGIC, 4: 1, 8: 4 }), { dma }))
  pci('pci-legacy', { dma })
  expect(asked).toEqual([64, 44, 64, 44])
})

// ---- pci ----

function pci(transport: TransportName, options?: PciProbeOptions, change: (f: PciFunction) => void = () => {}) {
  const board = new TestBoard()
  const { pci, endpoint } = board.plug(entropy(), { transport })
  if (endpoint instanceof PciTransport) change(endpoint.function)
  return run(probePci(pci!, options))
}

test.each([
  ['pci', false, false],
  ['pci', true, false],
  ['pci-transitional', false, false],
  ['pci-transitional', true, true],
  ['pci-legacy', false, true],
  ['pci-legacy', true, true],
] as const)('pci: %s with force_legacy %s', (transport, forceLegacy, legacy) => {
  const found = pci(transport, { forceLegacy })
  expect(found.legacy).toBe(legacy)
  expect(found.id).toEqual({ device: 4, vendor: 0x1af4 })
})
test('pci: force_legacy, but BAR 0 is absent: modern', () => {
  const bare = (f: PciFunction) => {
    f.bars[0]?.unmap?.()
    f.bars[0] = undefined
    f.writable(0x10, 4, 0)
    f.space.fill(0, 0x10, 0x14)
  }
  expect(pci('pci-transitional', { forceLegacy: true }, bare).legacy).toBe(false)
  expect(() => pci('pci-legacy', {}, bare)).toThrow(expect.objectContaining({ code: 'ENOMEM' }))
})
test('pci: another vendor, another device or another revision is ENODEV', () => {
  const gone = expect.objectContaining({ code: 'ENODEV' })
  expect(() => pci('pci', {}, f => (f.header.vendor = 0x8086))).toThrow(gone)
  expect(() => pci('pci', {}, f => (f.header.device = 0x1080))).toThrow(gone)
  expect(() => pci('pci-legacy', {}, f => (f.header.device = 0x1040))).toThrow(gone)
  expect(() => pci('pci-legacy', {}, f => (f.header.revision = 1))).toThrow(gone)
})

/** Changes the capability of a type. */
const edit = (type: number, change: (capability: InstanceType<typeof Capability>) => void) => (f: PciFunction) => {
  for (let at = f.header.capabilities; at; at = f.space[at + 1]!) {
    const capability = new Capability(new DataView(f.space.buffer), at)
    if (capability.cap_vndr === 9 && capability.cfg_type === type) change(capability)
  }
}
const { COMMON, NOTIFY, ISR } = Capability.fields.cfg_type.bits

test('pci: without a common structure it is left for the legacy driver', () => {
  expect(
    pci(
      'pci-transitional',
      {},
      edit(COMMON, c => (c.cfg_type = 77)),
    ).legacy,
  ).toBe(true)
  expect(() =>
    pci(
      'pci',
      {},
      edit(COMMON, c => (c.cfg_type = 77)),
    ),
  ).toThrow(expect.objectContaining({ code: 'ENODEV' }))
})
test('pci: a structure in a reserved BAR is ignored', () => {
  expect(
    pci(
      'pci-transitional',
      {},
      edit(COMMON, c => (c.bar = 6)),
    ).legacy,
  ).toBe(true)
})
test.each([NOTIFY, ISR])('pci: common without structure %i is EINVAL, and no fallback', type => {
  expect(() =>
    pci(
      'pci-transitional',
      {},
      edit(type, c => (c.cfg_type = 77)),
    ),
  ).toThrow(/missing capabilities.*EINVAL/)
})
test('pci: a structure that does not fit its BAR is EINVAL', () => {
  expect(() =>
    pci(
      'pci',
      {},
      edit(COMMON, c => (c.offset = 0x3ff0)),
    ),
  ).toThrow(expect.objectContaining({ code: 'EINVAL' }))
})
test('pci: a structure that is not aligned is EINVAL', () => {
  const odd = edit(COMMON, c => (c.offset = 0x3002))
  expect(() => pci('pci', {}, odd)).toThrow(/not aligned to 4 bytes.*EINVAL/)
})
test('pci: a function masters the bus only once it has a driver', () => {
  const { MASTER } = Header.fields.command.bits
  const functions: PciFunction[] = []
  const spoil = edit(ISR, c => (c.cfg_type = 77))
  const broken = (f: PciFunction) => {
    functions.push(f)
    spoil(f)
  }
  expect(() => pci('pci', {}, broken)).toThrow()
  pci('pci', {}, f => functions.push(f))
  expect(functions.map(({ header }) => header.command & MASTER)).toEqual([0, MASTER])
})
test('pci: a capability list that loops ends', () => {
  const loop = (f: PciFunction) => (f.space[f.header.capabilities + 1] = f.header.capabilities)
  expect(() => pci('pci', {}, loop)).toThrow(/missing capabilities/)
})
