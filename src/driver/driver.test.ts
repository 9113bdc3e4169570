import { describe, expect, test } from 'vitest'
import { ConsoleDevice } from '../devices/console.ts'
import { EntropyDevice } from '../devices/entropy.ts'
import { Feature } from '../virtio/core.ts'
import { VirtioBus } from './bus.ts'
import { ConsoleDriver } from './console.ts'
import { EntropyDriver } from './entropy.ts'
import { probeMmio } from './mmio.ts'
import { probePci } from './pci.ts'
import { run } from './steps.ts'
import { TestBoard, testMachine, variants } from './testing.ts'

const entropy = (value = 7) => new EntropyDevice({ fill: bytes => void bytes.fill(value) })

describe.each(variants)('$title', ({ transport, packed }) => {
  test('a request goes out and comes back, hundreds of times', () => {
    const machine = testMachine(entropy(), { transport, packed })
    for (let i = 0; i < 300; i++) {
      const sent = machine.send(0, [], [1 + (i % 5), 3])
      expect(sent.used).toBe(true)
      expect(sent.written).toBe(4 + (i % 5))
      expect([...sent.input]).toEqual(Array(4 + (i % 5)).fill(7))
    }
    expect(machine.interrupts).toBe(300)
  })
  test.each([
    ['without indirect descriptors', [Feature.INDIRECT_DESC]],
    ['without event index', [Feature.EVENT_IDX]],
    ['with all there is', []],
  ])('%s', (_, refuse) => {
    const machine = testMachine(entropy(), { transport, packed, refuse, queueSize: 8 })
    for (let i = 0; i < 100; i++) {
      const several = [1, 2].map(() => machine.send(0, [], [2, 3], { kick: false }))
      machine.kick(0)
      expect(several.map(sent => sent.used && sent.written)).toEqual([5, 5])
    }
  })
  test('the console driver and the console talk', () => {
    const output: string[] = []
    const board = new TestBoard()
    const device = new ConsoleDevice({
      ports: [
        { output: bytes => void output.push(String.fromCharCode(...bytes)) },
        { name: 'org.test', output: bytes => void output.push(`[${String.fromCharCode(...bytes)}]`) },
      ],
    })
    const machine = board.plug(device, { transport })
    const bus = new VirtioBus(board.arena)
    const road = machine.window ? run(probeMmio(machine.window)) : run(probePci(machine.pci!))
    const driver = new ConsoleDriver()
    run(bus.addDriver(driver))
    const bound = run(bus.addDevice(road, packed ? [] : [Feature.RING_PACKED]))
    expect(bus.log).toEqual([])
    const settle = () => {
      for (let i = 0; machine.line.level && i < 50; i++) run(bound.interrupt())
    }
    settle()
    run(driver.write(0, Uint8Array.of(104, 105)))
    expect(output).toEqual(['hi'])
    expect(driver.ports.get(1)?.name).toBe('org.test')
    expect(driver.ports.get(0)).toMatchObject({ terminal: true, columns: 80, rows: 25 })
    device.input(0, Uint8Array.of(1, 2, 3))
    settle()
    expect(driver.ports.get(0)?.received).toEqual([Uint8Array.of(1, 2, 3)])
    run(driver.open(1, true))
    device.input(1, Uint8Array.of(4))
    device.resize(0, 100, 50)
    settle()
    expect(driver.ports.get(1)?.received).toEqual([Uint8Array.of(4)])
    expect(driver.ports.get(0)).toMatchObject({ columns: 100, rows: 50 })
    expect(bus.log).toEqual([])
    // And what the driver had of memory is free again.
    run(bus.removeDriver(driver))
    expect(board.arena.allocate(board.arena.end - board.arena.start, 1)).toBe(board.arena.start)
  })
  test('an entropy driver that goes leaves nothing behind, whatever was under way', () => {
    const board = new TestBoard()
    const bus = new VirtioBus(board.arena)
    const { window, pci } = board.plug(entropy(), { transport })
    run(bus.addDevice(run(window ? probeMmio(window) : probePci(pci!)), packed ? [] : [Feature.RING_PACKED]))
    const driver = new EntropyDriver()
    run(bus.addDriver(driver))
    run(driver.request(100))
    run(driver.request(10))
    run(bus.removeDriver(driver))
    expect(board.arena.allocate(board.arena.end - board.arena.start, 1)).toBe(board.arena.start)
  })
})
