import { expect, test } from 'vitest'
import { ConsoleDevice } from '../devices/console.ts'
import { EntropyDevice } from '../devices/entropy.ts'
import { Feature, Status } from '../virtio/core.ts'
import type { VirtioDevice } from '../virtio/device.ts'
import { MmioTransport } from '../virtio/mmio.ts'
import { ANY, VirtioBus, type VirtioDriver } from './bus.ts'
import { EntropyDriver } from './entropy.ts'
import { LinuxError } from './errno.ts'
import { probeMmio } from './mmio.ts'
import { run } from './steps.ts'
import { TestBoard } from './testing.ts'

function entropyOnMmio() {
  const board = new TestBoard()
  const device: VirtioDevice = new EntropyDevice({ fill: bytes => void bytes.fill(9) })
  const plugged = board.plug(device)
  return { board, device, ...plugged, bus: new VirtioBus(board.arena), transport: run(probeMmio(plugged.window!)) }
}
const plain = (name: string, device: number, more: Partial<VirtioDriver> = {}): VirtioDriver => ({
  name,
  ids: [{ device, vendor: ANY }],
  features: [],
  *probe(bound) {
    yield* bound.findQueue(0)
  },
  ...more,
})

test('the id table decides: device and vendor, each may be any', () => {
  const { bus, transport } = entropyOnMmio()
  const device = run(bus.addDevice(transport))
  expect(device.matches([{ device: 4, vendor: ANY }])).toBe(true)
  expect(device.matches([{ device: ANY, vendor: ANY }])).toBe(true)
  expect(device.matches([{ device: ANY, vendor: transport.id.vendor }])).toBe(true)
  expect(device.matches([{ device: 4, vendor: 0x1234 }])).toBe(false)
  expect(device.matches([{ device: 5, vendor: ANY }])).toBe(false)
  expect(device.matches([])).toBe(false)
})

test('a device that is taken away while its driver does not answer leaves its interrupt line low', () => {
  const { bus, transport, endpoint, line, device } = entropyOnMmio()
  run(bus.addDriver(plain('rng', 4)))
  run(bus.addDevice(transport))
  device.configChanged?.()
  expect(line.level).toBe(true)
  if (endpoint instanceof MmioTransport) endpoint.reset()
  expect(line.level).toBe(false)
})

test('a device that nobody drives stays acknowledged; a driver that comes later binds it', () => {
  const { bus, transport, endpoint } = entropyOnMmio()
  run(bus.addDriver(plain('net', 1)))
  const device = run(bus.addDevice(transport))
  expect(endpoint.core.status).toBe(Status.ACKNOWLEDGE)
  expect(device.driver).toBeUndefined()
  const driver = plain('rng', 4)
  run(bus.addDriver(driver))
  expect(device.driver).toBe(driver)
  expect(endpoint.core.status).toBe(15)
})

test('uevent and sysfs say what Linux says', () => {
  const { bus, transport } = entropyOnMmio()
  const device = run(bus.addDevice(transport))
  run(bus.addDriver(plain('rng', 4)))
  expect(device.uevent).toBe('MODALIAS=virtio:d00000004v00000000')
  const attributes = run(device.attributes())
  expect(attributes).toMatchObject({
    device: '0x0004\n',
    vendor: '0x0000\n',
    status: '0x0000000f\n',
    modalias: 'virtio:d00000004v00000000\n',
  })
  expect(attributes.features).toMatch(/^[01]{64}\n$/)
  for (const feature of [Feature.INDIRECT_DESC, Feature.EVENT_IDX, Feature.VERSION_1, Feature.RING_PACKED])
    expect(attributes.features[feature]).toBe('1')
  expect(attributes.features[0]).toBe('0')
})

test('status goes up bit by bit, in the order of 3.1.1', () => {
  const { bus, transport, endpoint } = entropyOnMmio()
  const seen: number[] = []
  endpoint.core.probe = {
    status: (_, after) => void seen.push(after),
    access() {},
    kick() {},
    pop() {},
    complete() {},
    interrupt() {},
    fault() {},
  }
  run(bus.addDriver(plain('rng', 4)))
  run(bus.addDevice(transport))
  expect(seen).toEqual([0, 1, 3, 11, 15])
})

test('it can be stopped before each register access, with nothing done yet', () => {
  const { board, endpoint, window } = entropyOnMmio()
  const accesses: number[] = []
  endpoint.core.probe = {
    access: (_, write, offset) => void accesses.push(write ? offset : -offset),
    status() {},
    kick() {},
    pop() {},
    complete() {},
    interrupt() {},
    fault() {},
  }
  const steps = probeMmio(window!)
  expect(steps.next().value).toEqual({ window: 'mmio', register: 'MagicValue', offset: 0, size: 4 })
  expect(accesses).toEqual([])
  expect(steps.next().value).toMatchObject({ register: 'Version' })
  expect(accesses).toEqual([-0])
  expect(board.ram.bytes.every(byte => byte === 0)).toBe(true)
})

test.each([
  [
    'validate',
    {
      *validate() {
        throw new LinuxError('EINVAL', 'no')
      },
    },
    -22,
  ],
  [
    'probe',
    {
      *probe() {
        throw new LinuxError('ENODEV', 'no')
      },
    },
    -19,
  ],
] satisfies [string, Partial<VirtioDriver>, number][])(
  'a %s that fails leaves FAILED and a log line',
  (_, more, number) => {
    const { bus, transport, endpoint } = entropyOnMmio()
    run(bus.addDriver(plain('rng', 4, more)))
    const device = run(bus.addDevice(transport))
    expect(device.driver).toBeUndefined()
    expect(endpoint.core.status & Status.FAILED).toBe(Status.FAILED)
    expect(bus.log[0]).toContain(`rng: probe of virtio0 failed with error ${number}`)
  },
)

test('a device that refuses the features is ENODEV and FAILED', () => {
  const { bus, transport, endpoint } = entropyOnMmio()
  const real = transport.accept.bind(transport)
  transport.accept = features => real(features | (1n << 50n))
  run(bus.addDriver(plain('rng', 4)))
  run(bus.addDevice(transport))
  expect(bus.log[0]).toContain('error -19: virtio: device refuses features')
  expect(endpoint.core.status & Status.FAILED).toBe(Status.FAILED)
})

test('a driver without queues it asks for: ENOENT', () => {
  const { bus, transport } = entropyOnMmio()
  run(
    bus.addDriver(
      plain('rng', 4, {
        *probe(bound) {
          yield* bound.findQueue(7)
        },
      }),
    ),
  )
  run(bus.addDevice(transport))
  expect(bus.log[0]).toContain('error -2')
})

test('validate may take a feature away', () => {
  const { bus, transport, endpoint } = entropyOnMmio()
  const driver = plain('rng', 4, {
    *validate(device) {
      device.features &= ~(1n << BigInt(Feature.EVENT_IDX))
    },
  })
  run(bus.addDriver(driver))
  run(bus.addDevice(transport))
  expect(endpoint.core.status).toBe(15)
  expect(endpoint.core.accepted(Feature.EVENT_IDX)).toBe(false)
  expect(endpoint.core.accepted(Feature.INDIRECT_DESC)).toBe(true)
})

test('remove resets the device and leaves it to the next driver', () => {
  const { bus, transport, endpoint, line } = entropyOnMmio()
  const driver = new EntropyDriver()
  run(bus.addDriver(driver))
  const device = run(bus.addDevice(transport))
  run(driver.request(5))
  expect(line.level).toBe(true)
  run(device.interrupt())
  expect(driver.received).toEqual([new Uint8Array(5).fill(9)])
  run(bus.removeDriver(driver))
  expect(endpoint.core.status).toBe(Status.ACKNOWLEDGE)
  run(bus.addDriver(new EntropyDriver()))
  expect(endpoint.core.status).toBe(15)
  run(bus.removeDevice(device))
  expect(bus.devices).toEqual([])
})

test('a change of configuration while the driver starts is told once it has started', () => {
  const board = new TestBoard()
  const console = new ConsoleDevice({ ports: [{ output() {} }] })
  const plugged = board.plug(console)
  const bus = new VirtioBus(board.arena)
  const events: string[] = []
  const driver = plain('console', 3, {
    *probe(bound) {
      yield* bound.ready()
      console.resize(0, 1, 1)
      yield* bound.interrupt()
      events.push('probed')
    },
    *configChanged() {
      events.push('changed')
    },
  })
  run(bus.addDriver(driver))
  const device = run(bus.addDevice(run(probeMmio(plugged.window!))))
  expect(events).toEqual(['probed', 'changed'])
  console.resize(0, 2, 2)
  run(device.interrupt())
  expect(events).toEqual(['probed', 'changed', 'changed'])
})
