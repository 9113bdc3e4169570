/** A machine for tests: plain memory, one of our devices, and the driver bound to it, on any transport. */

import { Feature } from '../virtio/core.ts'
import type { VirtioDevice } from '../virtio/device.ts'
import { type AddressSpaces, ArrayMemory, type InterruptLine, type Window } from '../virtio/machine.ts'
import { MmioTransport } from '../virtio/mmio.ts'
import { PciTransport } from '../virtio/pci.ts'
import { CONFIG_PORTS, PciHost } from '../virtio/pci-host.ts'
import type { MessageInterrupts } from '../virtio/pci-msix.ts'
import { Arena } from './arena.ts'
import { type BusDevice, VirtioBus, type VirtioDriver } from './bus.ts'
import { probeMmio } from './mmio.ts'
import { probePci } from './pci.ts'
import { PciDevice, type Platform } from './pci-device.ts'
import { part, run } from './steps.ts'
import type { Transport } from './transport.ts'

export const transports = ['mmio-legacy', 'mmio', 'pci-legacy', 'pci-transitional', 'pci'] as const
export type TransportName = (typeof transports)[number]

/** Every transport with every ring format it allows, for `describe.each(variants)('$title', …)`. */
export const variants = transports.flatMap(transport =>
  (transport.endsWith('legacy') ? [false] : [false, true]).map(packed => ({
    transport,
    packed,
    title: `${transport}, ${packed ? 'packed' : 'split'}`,
  })),
)

const MMIO = 0xd0000000
const SLOT = 0x200
/** Where the driver's own memory begins, in bytes. */
const ARENA = 0x100000

interface Mapping {
  readonly start: number
  readonly window: Window
}

/** RAM that can tell what is stored where, and how often somebody asked whether it is RAM at all. */
class WatchedMemory extends ArrayMemory {
  /** Every buffer a device looks at is asked for first: this says how much work a request made. */
  looks = 0
  private log: number[] | undefined

  /** Addresses stored to while `work` runs, in order. */
  watch(work: () => void): number[] {
    const log: number[] = []
    const { words, halves } = this
    this.log = log
    Object.assign(this, { words: watched(words, log), halves: watched(halves, log) })
    work()
    Object.assign(this, { words, halves })
    this.log = undefined
    return log
  }
  override has(address: number, length: number) {
    this.looks++
    return super.has(address, length)
  }
  override target(address: number, length: number) {
    this.log?.push(address)
    return super.target(address, length)
  }
  override write(address: number, bytes: Uint8Array) {
    this.log?.push(address)
    super.write(address, bytes)
  }
  override setU16(address: number, value: number) {
    this.log?.push(address)
    super.setU16(address, value)
  }
  override setU32(address: number, value: number) {
    this.log?.push(address)
    super.setU32(address, value)
  }
}

/** The same array, whose stores are noted by address. */
const watched = <T extends Uint32Array | Uint16Array>(array: T, log: number[]) =>
  new Proxy(array, {
    get: (_, index) => Reflect.get(array, index),
    set: (_, index, value) => {
      log.push(Number(index) * array.BYTES_PER_ELEMENT)
      return Reflect.set(array, index, value)
    },
  })

/** The machine around the devices: RAM, both address spaces, a PCI host bridge and the interrupt lines. */
export class TestBoard implements AddressSpaces, Platform {
  readonly ram: WatchedMemory
  readonly arena: Arena
  readonly host = new PciHost({ length: 8, read: (_, size) => 2 ** (8 * size) - 1, write: () => {} })
  readonly memory = space(() => this.mappings.memory)
  readonly ports = space(() => this.mappings.ports)
  private readonly mappings: { memory: Mapping[]; ports: Mapping[] } = { memory: [], ports: [] }
  private readonly resources = { memory: 0xe0000000, memoryEnd: 0xf0000000, ports: 0xc000, portsEnd: 0x10000 }
  private slots = 0

  constructor(ramSize = 4 << 20) {
    this.ram = new WatchedMemory(ramSize)
    this.arena = new Arena(this.ram, ARENA, ramSize)
    this.mapPorts(CONFIG_PORTS, this.host)
  }

  mapMemory(start: number, window: Window) {
    return map(this.mappings.memory, { start, window })
  }
  mapPorts(start: number, window: Window) {
    return map(this.mappings.ports, { start, window })
  }

  /** Plugs a device in, and gives its BARs a place. */
  plug(device: VirtioDevice, options: PlugOptions = {}): Plugged {
    const { transport = 'mmio', mask = [], messages = false, onBug } = options
    const slot = ++this.slots
    const line = new Line()
    const common = { memory: this.ram, line, mask, ...(onBug && { onBug }) }
    if (transport === 'mmio' || transport === 'mmio-legacy') {
      const endpoint = new MmioTransport(device, { ...common, legacy: transport === 'mmio-legacy' })
      const start = MMIO + SLOT * slot
      this.mapMemory(start, endpoint)
      return { endpoint, line, window: part(this.memory, start, SLOT), slot }
    }
    const kind = transport === 'pci' ? 'modern' : transport === 'pci-legacy' ? 'legacy' : 'transitional'
    // A message is a write; where it goes to RAM, a test finds it there.
    const send: MessageInterrupts['send'] = (address, data) => {
      if (this.ram.has(address, 4)) this.ram.setU32(address, data)
    }
    const endpoint = new PciTransport(device, {
      ...common,
      kind,
      spaces: this,
      ...(messages && { messages: { send } }),
    })
    this.host.plug(slot, endpoint.function)
    // By itself: those plugged before keep the places their drivers know.
    const firmware = new PciHost(this.host)
    firmware.plug(slot, endpoint.function)
    firmware.configure(this.resources, () => 11)
    return { endpoint, line, pci: new PciDevice(this, slot), slot }
  }
}

export interface PlugOptions {
  readonly transport?: TransportName
  /** Feature bits the device is not to offer. */
  readonly mask?: readonly number[]
  /** The machine can deliver MSI-X. */
  readonly messages?: boolean
  /** Told of errors that are ours; without it they are thrown. */
  readonly onBug?: (error: unknown) => void
}

export interface Plugged {
  readonly endpoint: MmioTransport | PciTransport
  readonly line: Line
  readonly slot: number
  /** What an mmio driver probes. */
  readonly window?: Window
  /** What a pci driver probes. */
  readonly pci?: PciDevice
}

export class Line implements InterruptLine {
  level = false
  /** How often it went up. */
  edges = 0
  set(level: boolean) {
    if (level && !this.level) this.edges++
    this.level = level
  }
}

/** What answers at an address: nothing reads as all ones. */
function space(mappings: () => readonly Mapping[]): Window {
  const find = (address: number) =>
    mappings().find(({ start, window }) => address >= start && address < start + window.length)
  return {
    length: 2 ** 32,
    read: (address, size) => {
      const found = find(address)
      return found ? found.window.read(address - found.start, size) : 2 ** (8 * size) - 1
    },
    write: (address, size, value) => {
      const found = find(address)
      found?.window.write(address - found.start, size, value)
    },
  }
}

function map(mappings: Mapping[], mapping: Mapping) {
  mappings.push(mapping)
  return () => void mappings.splice(mappings.indexOf(mapping), 1)
}

/** Linux 6.1 knows neither of these. */
export const notInLinux = [Feature.IN_ORDER, Feature.NOTIFICATION_DATA]

export interface TestOptions extends PlugOptions {
  /** Use packed rings if they are offered; split ones otherwise. */
  readonly packed?: boolean
  /** Feature bits the driver does not take: those Linux 6.1 does not know if absent. */
  readonly refuse?: readonly number[]
  /** Largest queue the driver makes, where it may choose: 256 if absent. */
  readonly queueSize?: number
  /** For a transitional function: drive it through its legacy interface. */
  readonly forceLegacy?: boolean
}

/** A request on its way. */
export class Sent {
  /** Filled in when the device has used it. */
  written: number | undefined
  constructor(
    private readonly machine: TestMachine,
    private readonly room: readonly { readonly address: number; readonly length: number }[],
  ) {}

  /** The device has used it. */
  get used() {
    this.machine.poll()
    return this.written !== undefined
  }
  /** All writable buffers, one after the other, whatever was written. */
  get input(): Uint8Array {
    const { ram } = this.machine.board
    const bytes = this.room.flatMap(({ address, length }) => [...ram.slice(address, length)])
    return Uint8Array.from(bytes)
  }
}

/** A device with a driver that has all its queues and every feature both sides know. */
export class TestMachine {
  readonly bus: VirtioBus
  readonly bound: BusDevice
  readonly plugged: Plugged
  /** How often the interrupt handler found something to do. */
  interrupts = 0
  /** How often the driver was told that the configuration changed. */
  configChanges = 0

  constructor(
    readonly device: VirtioDevice,
    readonly options: TestOptions = {},
    readonly board = new TestBoard(),
  ) {
    const { packed = false, refuse = notInLinux, forceLegacy = false } = options
    this.plugged = board.plug(device, options)
    const { window, pci } = this.plugged
    const transport: Transport = window ? run(probeMmio(window)) : run(probePci(pci!, { forceLegacy }))
    this.bus = new VirtioBus(board.arena)
    const wanted = packed ? refuse : [...refuse, Feature.RING_PACKED]
    this.bound = run(this.bus.addDevice(transport, wanted))
    run(this.bus.addDriver(this.driver()))
    if (this.bus.log.length > 0) throw new Error(this.bus.log.join('\n'))
  }

  /** The device's half. */
  get core() {
    return this.plugged.endpoint.core
  }
  get status() {
    return run(this.bound.transport.status())
  }

  private driver(): VirtioDriver {
    const { id } = this.device.spec
    const machine = this
    return {
      name: 'test',
      ids: [{ device: id, vendor: 0xffffffff }],
      features: Array.from({ length: 64 }, (_, bit) => bit),
      *probe(bound) {
        for (let i = 0; i < machine.core.queues.length; i++) yield* bound.findQueue(i, machine.options.queueSize)
      },
      *configChanged() {
        machine.configChanges++
      },
    }
  }

  /**
   * Sends a request: each of `out` is a readable descriptor, each number of `room` a writable one of so many bytes.
   * With `kick: false` the device is not told yet.
   */
  send(
    queue: number,
    out: Uint8Array | readonly Uint8Array[],
    room: number | readonly number[] = [],
    { kick = true } = {},
  ): Sent {
    const { arena, ram } = this.board
    const readable = (out instanceof Uint8Array ? [out] : out).map(bytes => {
      const address = arena.allocate(bytes.length, 1)
      ram.write(address, bytes)
      return { address, length: bytes.length }
    })
    const writable = (typeof room === 'number' ? [room] : room).map(length => ({
      address: arena.allocate(length, 1),
      length,
    }))
    const sent = new Sent(this, writable)
    if (!this.queue(queue).add(readable, writable, sent)) throw new RangeError(`queue ${queue} is full`)
    if (kick) this.kick(queue)
    return sent
  }

  /** Tells the device of what was added, if it wants to be told. */
  kick(queue: number): boolean {
    const told = run(this.queue(queue).kick())
    this.poll()
    return told
  }

  /** Takes interrupts and everything the device has used. */
  poll() {
    const { line } = this.plugged
    for (let i = 0; line.level && i < 16; i++) {
      if (!run(this.bound.interrupt())) break
      this.interrupts++
    }
    for (const queue of this.bound.queues)
      for (const { token, length } of queue.drain()) (token as Sent).written = length
  }

  /** Waits until a device that works asynchronously has used it. */
  async done(sent: Sent): Promise<Sent> {
    for (let turn = 0; turn < 10_000; turn++) {
      if (sent.used) return sent
      await undefined
    }
    throw new Error('the device never used this request')
  }

  /** A value from the device's configuration space. */
  config(offset: number, size: number): number {
    return run(this.bound.transport.readConfig(offset, size))
  }
  setConfig(offset: number, size: number, value: number) {
    run(this.bound.transport.writeConfig(offset, size, value))
    this.poll()
  }

  /** Resets the device, and has the driver set it up again. */
  restart() {
    const { driver } = this.bound
    run(this.bound.unbind())
    run(this.bound.bind(driver!))
  }

  queue(index: number) {
    const queue = this.bound.queues[index]
    if (!queue) throw new RangeError(`the device has no queue ${index}`)
    return queue
  }
}

export const testMachine = (device: VirtioDevice, options?: TestOptions) => new TestMachine(device, options)
