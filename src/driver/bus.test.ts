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
import { probePci } from './pci.ts'
import { run, type Steps } from './steps.ts'
import { TestBoard, transports } from './testing.ts'

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
    'failed with error -22',
  ],
  [
    'probe',
    {
      *probe() {
        throw new LinuxError('ENODEV', 'no')
      },
    },
    'rejects match -19',
  ],
] satisfies [string, Partial<VirtioDriver>, string][])(
  'a %s that fails leaves FAILED and a log line',
  (_, more, outcome) => {
    const { bus, transport, endpoint } = entropyOnMmio()
    run(bus.addDriver(plain('rng', 4, more)))
    const device = run(bus.addDevice(transport))
    expect(device.driver).toBeUndefined()
    expect(endpoint.core.status & Status.FAILED).toBe(Status.FAILED)
    expect(bus.log[0]).toContain(`rng: probe of virtio0 ${outcome}`)
  },
)

test('a device that refuses the features is ENODEV and FAILED', () => {
  const { bus, transport, endpoint } = entropyOnMmio()
  const real = transport.accept.bind(transport)
  transport.accept = features => real(features | (1n << 50n))
  run(bus.addDriver(plain('rng', 4)))
  run(bus.addDevice(transport))
  expect(bus.log[0]).toContain('rejects match -19: virtio: device refuses features')
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

test('the first driver that takes a device has it; one that gives it up leaves it to the next', () => {
  const { bus, transport } = entropyOnMmio()
  const shy = plain('shy', 4, {
    *probe() {
      throw new LinuxError('ENODEV', 'not mine')
    },
  })
  const [first, second] = [plain('first', 4), plain('second', ANY)]
  for (const driver of [shy, first, second]) run(bus.addDriver(driver))
  const device = run(bus.addDevice(transport))
  expect(device.driver).toBe(first)
  expect(bus.log).toEqual([expect.stringContaining('shy: probe of virtio0 rejects match -19')])
})

test('what was removed leaves its name to the next device', () => {
  const board = new TestBoard()
  const bus = new VirtioBus(board.arena)
  const add = () => {
    const plugged = board.plug(new EntropyDevice({ fill: () => {} }))
    return run(bus.addDevice(run(probeMmio(plugged.window!))))
  }
  const [first, second] = [add(), add()]
  expect([first.name, second.name]).toEqual(['virtio0', 'virtio1'])
  run(bus.removeDevice(first))
  expect([add().name, add().name]).toEqual(['virtio0', 'virtio2'])
})

test('a device without VERSION_1 is offered to the driver’s other table', () => {
  const board = new TestBoard()
  const bind = (transport: 'mmio' | 'mmio-legacy') => {
    const { window, endpoint } = board.plug(new ConsoleDevice({ ports: [{ output() {} }], multiport: true }), {
      transport,
    })
    const bus = new VirtioBus(board.arena)
    run(bus.addDriver(plain('console', 3, { features: [0, 1], legacyFeatures: [0] })))
    run(bus.addDevice(run(probeMmio(window!))))
    return [0, 1].filter(bit => endpoint.core.accepted(bit))
  }
  expect(bind('mmio')).toEqual([0, 1])
  expect(bind('mmio-legacy')).toEqual([0])
})

test('the probe slot sees the bus at work, from the match to the interrupt', () => {
  const { bus, transport } = entropyOnMmio()
  const seen: unknown[][] = []
  const see =
    (event: string) =>
    (...values: unknown[]) =>
      void seen.push([event, ...values])
  bus.probe = {
    ...{ match: see('match'), status: see('status'), negotiate: see('negotiate'), failed: see('failed') },
    ...{ add: see('add'), kick: see('kick'), take: see('take'), interrupt: see('interrupt') },
  }
  const driver = new EntropyDriver()
  run(bus.addDriver(plain('net', 1)))
  run(bus.addDriver(driver))
  const device = run(bus.addDevice(transport))
  run(driver.request(5))
  run(device.interrupt())
  const offered = run(transport.offered())
  expect(seen).toEqual([
    ['status', 0, 0],
    ['status', 0, Status.ACKNOWLEDGE],
    ['match', 0, 'net', false],
    ['match', 0, 'virtio_rng', true],
    ['status', 0, Status.DRIVER],
    ['negotiate', 0, offered, device.features],
    ['status', 0, Status.FEATURES_OK],
    ['status', 0, Status.DRIVER_OK],
    ['add', 0, 0, 0, 1],
    ['kick', 0, 0, true],
    ['interrupt', 0, 1],
    ['take', 0, 0, 5],
  ])
})

test.each(transports)('on %s each register access is a step of its own, and happens after it', name => {
  const board = new TestBoard()
  const { endpoint, window, pci } = board.plug(new EntropyDevice({ fill: () => {} }), { transport: name })
  let accesses = 0
  endpoint.core.probe = {
    access: () => void accesses++,
    ...{ status() {}, kick() {}, pop() {}, complete() {}, interrupt() {}, fault() {} },
  }
  const bus = new VirtioBus(board.arena)
  const driver = new EntropyDriver()
  function* life(): Steps {
    const device = yield* bus.addDevice(yield* window ? probeMmio(window) : probePci(pci!))
    yield* bus.addDriver(driver)
    yield* driver.request(4)
    yield* device.interrupt()
    yield* bus.removeDevice(device)
  }
  let steps = 0
  for (const { window } of life()) {
    expect(accesses).toBe(steps)
    // Configuration space is the bus's, not the device's.
    if (window !== 'pci') steps++
  }
  expect(accesses).toBe(steps)
  expect(steps).toBeGreaterThan(20)
  expect(driver.received.length).toBe(1)
})
