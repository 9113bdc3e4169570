import type { Window } from '../virtio/machine.ts'
import { Header } from '../virtio/pci-config.ts'
import { CONFIG_PORTS } from '../virtio/pci-host.ts'
import { part, readAt, type Steps, writeAt } from './steps.ts'

/** The CPU's two address spaces: offsets are addresses. */
export interface Platform {
  readonly memory: Window
  readonly ports: Window
}

const { IO, MEMORY } = Header.fields.command.bits
const ENABLE = 0x80000000
const BAR0 = Header.offset.bar0
/** What a capability list can hold at most: it is a chain that may loop. */
const MOST_CAPABILITIES = 48

export interface BarRegion {
  readonly ports: boolean
  readonly start: number
  /** In bytes. */
  readonly length: number
}

/** A PCI function as its driver sees it, through configuration mechanism #1. */
export class PciDevice {
  constructor(
    private readonly platform: Platform,
    /** Device number on bus 0. */
    readonly slot: number,
  ) {}

  *read(offset: number, size: number): Steps<number> {
    this.select(offset)
    return yield* readAt(this.data, 'pci', 'config', offset, size)
  }
  *write(offset: number, size: number, value: number): Steps {
    this.select(offset)
    yield* writeAt(this.data, 'pci', 'config', offset, size, value)
  }
  /** A register of the type 0 header. */
  *get(field: 'vendor' | 'device' | 'revision' | 'subsystem_vendor' | 'subsystem_device' | 'command' | 'capabilities') {
    return yield* this.read(Header.offset[field], Header.fields[field].size)
  }

  /** Lets it answer and master the bus: `pci_enable_device`, `pci_set_master`. */
  *enable(bits: number): Steps {
    yield* this.write(Header.offset.command, 2, (yield* this.get('command')) | bits)
  }

  /** Where a BAR lies and how long it is; undefined if there is none. */
  *bar(index: number): Steps<BarRegion | undefined> {
    if (!this.bars.has(index)) this.bars.set(index, yield* this.size(index))
    return this.bars.get(index)
  }
  private readonly bars = new Map<number, BarRegion | undefined>()

  /** Asks a BAR for its length; it cannot answer accesses meanwhile. */
  private *size(index: number): Steps<BarRegion | undefined> {
    const at = BAR0 + 4 * index
    const value = yield* this.read(at, 4)
    const command = yield* this.get('command')
    yield* this.write(Header.offset.command, 2, command & ~(IO | MEMORY))
    yield* this.write(at, 4, 0xffffffff)
    const sized = yield* this.read(at, 4)
    yield* this.write(at, 4, value)
    yield* this.write(Header.offset.command, 2, command)
    const ports = (sized & 1) !== 0
    const bits = ports ? (sized & ~3) | 0xffff0000 : sized & ~15
    if ((ports ? sized & ~3 : bits) === 0) return undefined
    return { ports, start: (ports ? value & 0xfffc : value & ~15) >>> 0, length: (~bits + 1) >>> 0 }
  }

  /** What a BAR leads to. */
  map({ ports, start, length }: BarRegion): Window {
    return part(ports ? this.platform.ports : this.platform.memory, start, length)
  }

  /** Offsets of the capabilities with this ID, in the order of the list. */
  *capabilities(id: number): Steps<number[]> {
    const found: number[] = []
    let at = (yield* this.get('capabilities')) & ~3
    for (let i = 0; at !== 0 && i < MOST_CAPABILITIES; i++) {
      if ((yield* this.read(at, 1)) === id) found.push(at)
      at = (yield* this.read(at + 1, 1)) & ~3
    }
    return found
  }

  private select(offset: number) {
    this.platform.ports.write(CONFIG_PORTS, 4, (ENABLE | (this.slot << 11) | (offset & 0xfc)) >>> 0)
    this.low = offset & 3
  }
  private low = 0
  private readonly data: Window = {
    length: 256,
    read: (_, size) => this.platform.ports.read(CONFIG_PORTS + 4 + this.low, size),
    write: (_, size, value) => this.platform.ports.write(CONFIG_PORTS + 4 + this.low, size, value),
  }
}
