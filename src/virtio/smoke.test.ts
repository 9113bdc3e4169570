import { expect, test } from 'vitest'
import { ConsoleDevice } from '../devices/console.ts'
import { EntropyDevice } from '../devices/entropy.ts'
import { ArrayMemory } from './machine.ts'
import { MmioTransport, Registers } from './mmio.ts'

test('an entropy device answers over mmio, split', () => {
  const memory = new ArrayMemory(0x10000)
  const levels: boolean[] = []
  const t = new MmioTransport(new EntropyDevice({ fill: b => void b.fill(7) }), {
    memory,
    line: { set: l => void levels.push(l) },
  })
  const set = (name: keyof typeof Registers, v: number) => t.write(Registers[name].at, 4, v)
  const get = (name: keyof typeof Registers) => t.read(Registers[name].at, 4)
  set('Status', 1)
  set('Status', 3)
  set('DriverFeaturesSel', 1)
  set('DriverFeatures', 1)
  set('Status', 11)
  expect(get('Status')).toBe(11)
  set('QueueSel', 0)
  set('QueueSize', 8)
  set('QueueDescLow', 0x1000)
  set('QueueDriverLow', 0x1200)
  set('QueueDeviceLow', 0x1300)
  set('QueueReady', 1)
  set('Status', 15)
  memory.view.setUint32(0x1000, 0x4000, true)
  memory.view.setUint32(0x1008, 16, true)
  memory.view.setUint16(0x100c, 2, true)
  memory.setU16(0x1202, 1)
  set('QueueNotify', 0)
  expect(get('InterruptStatus')).toBe(1)
  expect(memory.view.getUint16(0x1302, true)).toBe(1)
  expect(memory.view.getUint32(0x1308, true)).toBe(16)
  expect([...memory.slice(0x4000, 17)]).toEqual([...Array(16).fill(7), 0])
})
test('console', () => {
  new ConsoleDevice({ ports: [{ output() {} }] })
})
