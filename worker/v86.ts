/** The only file (with its declarations beside it) that knows v86's private names. Tried against 0.5.462. */

import type { BootPlan, SegmentRegister } from '../src/boot/plan.ts'
import type { AddressSpaces, GuestMemory, InterruptLine, Window } from '../src/virtio/machine.ts'
import { type CdImage, cdBuffer } from './cd-image.ts'
import { SharedInterrupt } from './interrupt-lines.ts'
import { MemoryWindows, readOnly } from './memory-windows.ts'
import type { Cpu, Emulator, PortEntry, V86Image } from './v86-internals.d.ts'

/** v86's memory map is made of blocks this long. */
const BLOCK_SHIFT = 17
/** The CPU looks for interrupts after this many instructions. */
const LOOP_COUNTER = 100_003
const INTERRUPT_FLAG = 0x200
/** A boot runs most code too seldom for its translation to pay: as many as Debian takes to its login, a second or so, are interpreted. */
const COLD_INSTRUCTIONS = 36_000_000
const JIT_DISABLED = 0
/** In the interrupt controller's fields: which lines are level-triggered. */
const ELCR = 10
/** Firmware ends where the first 32 bits of addresses do. v86’s host bridge says that its copy in RAM is there already, below 1 MiB. */
const FIRMWARE = { end: 2 ** 32, shadowEnd: 0x100000, shadowLength: 0x40000 }
/** Where v86's VGA function has its ROM. */
const VGA_ROM = 0xfeb00000
/** Tells SeaBIOS to copy its screen to a serial port, and to take keys from it: the port's number. */
const SERIAL_CONSOLE = { name: 'etc/sercon-port', data: Uint8Array.of(0xf8, 0x03) }
/** Video memory and, unless a BIOS makes it its own RAM, what lies above it: not RAM, whatever the processor finds there. */
const HOLE = { start: 0xa0000, videoEnd: 0xc0000, end: 0x100000 }

/** The processor met an exception that it could not deliver, nor the one about that. It needs a new board. */
export class TripleFault extends Error {
  override name = 'TripleFault'
}

export interface BoardOptions {
  /** In bytes: a multiple of 128 KiB, below 2 GiB. */
  readonly memory: number
  /** `v86.wasm`, compiled. */
  readonly wasm: WebAssembly.Module
  /** What is in the CD drive; without it there is no drive. A board with one cannot be reset, only replaced. */
  readonly cdrom?: CdImage | undefined
  /** Leaves v86 its own way of giving up the thread, for `runItself`. */
  readonly ownYield?: boolean
}

/** A BIOS for i440FX boards, and one for the display. */
export interface Firmware {
  readonly bios: Uint8Array
  readonly vga?: Uint8Array | undefined
}

/** What happens on the board without anybody asking. Called while the CPU runs: note it, act after the slice. */
export interface BoardEvents {
  /** An interrupt came while the CPU may be asleep. */
  wake(): void
  /** HLT with interrupts off: it will never go on. */
  halted(): void
  /** The guest pulled the reset line. */
  reset(): void
  /** A byte on the first serial port. */
  serial(byte: number): void
  /** The CD could not be read; the guest goes on waiting for it, and will give up. */
  unreadable?(error: unknown): void
  /** A device failed in a way it should not: our bug. */
  fault(error: unknown): void
}

/** The mainboard: v86's CPU, RAM, interrupt controller and address spaces, without a BIOS and with nobody's schedule but ours. */
export class Board implements AddressSpaces {
  readonly memory: BoardMemory
  /** Runs on v86's own schedule instead of in slices, to be measured against; with `ownYield`. */
  runItself?: () => void
  private readonly windows = new MemoryWindows()
  private readonly blocks = new Map<number, { windows: number; restore(): void }>()
  private readonly interrupts = new Map<number, SharedInterrupt>()
  /** In wasm memory: what must be quick. */
  private hot!: { flags: Int32Array; counter: Int32Array }
  private readonly offsets: { flags: number; counter: number }
  private running = false
  private interrupted = false
  /** While code is only interpreted: the instruction count it began at. */
  private coldSince: number | undefined

  private constructor(
    private readonly cpu: Cpu,
    private readonly events: BoardEvents,
    private readonly restart: (() => Promise<void>) | undefined,
    private readonly typeSerial: (bytes: Uint8Array) => void,
  ) {
    this.memory = new BoardMemory(cpu)
    this.offsets = { flags: cpu.flags.byteOffset, counter: cpu.instruction_counter.byteOffset }
    cpu.stop_idling = () => this.wake()
    cpu.reboot_internal = () => {
      this.stop()
      events.reset()
    }
    const bytewise = cpu.mmap_write16
    cpu.mmap_write16 = (address, value) => {
      const mapping = this.windows.at(address >>> 0)
      if (mapping) this.guard(() => mapping.window.write((address >>> 0) - mapping.base, 2, value))
      else bytewise.call(cpu, address, value)
    }
  }

  static async create({ memory, wasm, cdrom, ownYield = false }: BoardOptions, events: BoardEvents): Promise<Board> {
    const V86 = await loadV86(ownYield)
    const emulator = new V86({
      wasm_fn: async imports => {
        imports['env']!['console_log_from_wasm'] = () => {} // Rust's panic message; the trap that follows is ours to report
        return (await WebAssembly.instantiate(wasm, imports)).exports
      },
      memory_size: memory,
      vga_memory_size: 1 << 18,
      autostart: false,
      disable_keyboard: true,
      disable_mouse: true,
      disable_speaker: true,
      net_device: { type: 'none' as 'ne2k' },
      ...(cdrom && { cdrom: cdBuffer(cdrom, error => events.unreadable?.(error)) as unknown as V86Image }),
    })
    await new Promise<void>(resolve => emulator.add_listener('emulator-loaded', () => resolve()))
    const { cpu } = (emulator as unknown as Emulator).v86
    cpu.option_roms.push(SERIAL_CONSOLE)
    // Its IDE controller is there even without disks, with BARs that its own restore trips over.
    const { pci } = cpu.devices
    for (const [id, device] of pci.devices.entries()) {
      if (!cdrom && device?.pci_bars.includes(undefined)) pci.devices[id] = pci.device_spaces[id] = undefined
    }
    // RAM is cleared by us, page by page: v86's way would pack and unpack all of it.
    cpu.pack_memory = () => ({
      bitmap: { get_buffer: () => new ArrayBuffer(memory >>> 15) },
      packed_memory: new Uint8Array(0),
    })
    cpu.unpack_memory = () => {}
    const powerOn = cdrom ? undefined : await emulator.save_state()
    const restart =
      powerOn &&
      (() => {
        cpu.reset_cpu()
        return emulator.restore_state(powerOn.slice(0)) // devices keep views of what they are given
      })
    emulator.add_listener('serial0-output-byte', byte => events.serial(byte))
    const listen = emulator.add_listener as (this: unknown, event: string, listener: () => void) => void
    listen.call(emulator, 'cpu-event-halt', () => events.halted())
    const { stop_idling } = cpu
    const board = new Board(cpu, events, restart, bytes => emulator.serial_send_bytes(0, bytes))
    if (ownYield) {
      cpu.stop_idling = stop_idling
      board.runItself = () => void emulator.run()
    }
    return board
  }

  /** Back to power-on: registers, v86's devices, and zeroes in RAM. Windows and ports of ours stay mapped. False: it cannot be. */
  async reset(): Promise<boolean> {
    if (!this.restart) return false
    await this.restart()
    this.interrupted = false
    this.memory.clear()
    return true
  }

  /** Puts a BIOS in place; the next slice begins with its first instruction. Returns what takes it away again. */
  loadFirmware({ bios, vga }: Firmware): () => void {
    const shadow = bios.subarray(-FIRMWARE.shadowLength)
    this.memory.write(FIRMWARE.shadowEnd - shadow.length, shadow)
    this.memory.holeEnd = HOLE.videoEnd
    const undo = [this.mapMemory(FIRMWARE.end - bios.length, readOnly(bios))]
    if (vga) undo.push(this.mapMemory(VGA_ROM, readOnly(vga)))
    return () => {
      for (const unmap of undo) unmap()
      this.memory.holeEnd = HOLE.end
    }
  }

  /** Puts a kernel in place; the next slice begins with its first instruction. */
  load({ segments, cpu: start }: BootPlan) {
    const { cpu, memory } = this
    for (const { address, bytes, length } of segments) {
      memory.write(address, bytes)
      memory.target(address + bytes.length, length - bytes.length).fill(0)
    }
    cpu.gdtr_offset[0] = start.gdtr.base
    cpu.gdtr_size[0] = start.gdtr.limit
    cpu.cr[0] = start.cr0
    cpu.flags[0] = start.eflags
    cpu.protected_mode[0] = cpu.is_32[0] = cpu.stack_size_32[0] = 1
    for (const [index, name] of ['es', 'cs', 'ss', 'ds', 'fs', 'gs'].entries()) {
      this.setSegment(index, name === 'cs' ? start.cs : start.data)
    }
    cpu.reg32.fill(0)
    cpu.reg32[4] = start.esp
    cpu.reg32[6] = start.esi
    cpu.instruction_pointer[0] = start.eip
    cpu.update_state_flags()
    if (this.runItself) return // and nobody would notice when it is warm
    cpu.set_jit_config(JIT_DISABLED, 1)
    this.coldSince = cpu.instruction_counter[0]!
  }

  private setSegment(index: number, { selector, base, limit, access }: SegmentRegister) {
    const { cpu } = this
    cpu.sreg[index] = selector
    cpu.segment_is_null[index] = 0
    cpu.segment_offsets[index] = base
    cpu.segment_limits[index] = limit
    cpu.segment_access_bytes[index] = access
  }

  // ---- time ----

  /** Runs for about a millisecond. Answers for how many milliseconds the CPU then wants to sleep; 0: it is busy. */
  slice(): number {
    const { cpu } = this
    this.running = true
    try {
      if (this.interrupted) {
        this.interrupted = false
        cpu.handle_irqs()
      }
      if (this.coldSince !== undefined) this.warmUp(this.coldSince)
      return Math.max(0, cpu.main_loop())
    } catch (error) {
      throw undeliverable(error) ? new TripleFault('The processor gave up: a triple fault.', { cause: error }) : error
    } finally {
      this.running = false
    }
  }

  private warmUp(since: number) {
    if ((this.views().counter[0]! - since) >>> 0 < COLD_INSTRUCTIONS) return
    this.coldSince = undefined
    this.cpu.set_jit_config(JIT_DISABLED, 0)
  }

  /** Makes the CPU leave the running slice soon, for good: until the next reset it only sleeps. */
  stop() {
    this.cpu.flags[0]! &= ~INTERRUPT_FLAG
    this.cpu.in_hlt[0] = 1
  }

  private wake() {
    if (!this.running) this.events.wake()
  }

  // ---- interrupts ----

  /** A wire to this input of the interrupt controller. Each call makes another sharer. */
  line(irq: number): InterruptLine {
    let input = this.interrupts.get(irq)
    if (!input) {
      input = new SharedInterrupt(level => this.drive(irq, level))
      this.interrupts.set(irq, input)
    }
    const { cpu } = this
    const controller = irq < 8 ? cpu.get_pic_addr_master() : cpu.get_pic_addr_slave()
    new Uint8Array(cpu.wasm_memory.buffer)[controller + ELCR]! |= 1 << (irq & 7)
    return input.line()
  }

  /**
   * v86 delivers a raised interrupt at once, even from inside a store of translated code, whose registers are then not where
   * the handler looks for them. So it is only noted here; where interrupts are on, the slice is cut short to deliver it.
   */
  private drive(irq: number, level: boolean) {
    const { cpu } = this
    if (this.runItself) return level ? cpu.device_raise_irq(irq) : cpu.device_lower_irq(irq)
    const { flags, counter } = this.views()
    const before = flags[0]!
    flags[0] = before & ~INTERRUPT_FLAG
    if (level) cpu.device_raise_irq(irq)
    else cpu.device_lower_irq(irq)
    flags[0] = before
    if (!level) return
    if (!this.running) {
      this.interrupted = true
      this.events.wake()
    } else if (before & INTERRUPT_FLAG) counter[0]! += LOOP_COUNTER
  }

  private views() {
    if (!this.hot?.flags.length) {
      const { buffer } = this.cpu.wasm_memory
      this.hot = {
        flags: new Int32Array(buffer, this.offsets.flags, 1),
        counter: new Int32Array(buffer, this.offsets.counter, 1),
      }
    }
    return this.hot
  }

  // ---- address spaces ----

  mapMemory(address: number, window: Window): () => void {
    const remove = this.windows.add(address, window)
    const first = address >>> BLOCK_SHIFT
    const last = (address + window.length - 1) >>> BLOCK_SHIFT
    for (let block = first; block <= last; block++) this.claim(block)
    return once(() => {
      remove()
      for (let block = first; block <= last; block++) this.release(block)
    })
  }

  private claim(block: number) {
    const claimed = this.blocks.get(block)
    if (claimed) claimed.windows++
    else this.blocks.set(block, { windows: 1, restore: this.takeOver(block) })
  }

  private release(block: number) {
    const claimed = this.blocks.get(block)
    if (!claimed || --claimed.windows > 0) return
    claimed.restore()
    this.blocks.delete(block)
  }

  private takeOver(block: number): () => void {
    const { memory_map_read8, memory_map_read32, memory_map_write8, memory_map_write32 } = this.cpu
    const [read8, read32] = [memory_map_read8[block], memory_map_read32[block]]
    const [write8, write32] = [memory_map_write8[block], memory_map_write32[block]]
    if (!read8) return () => {} // a BAR over RAM: the RAM answers
    const reader = (size: number, otherwise: typeof read8) => (address: number) => {
      const mapping = this.windows.at(address >>> 0)
      if (!mapping) return otherwise(address)
      try {
        return mapping.window.read((address >>> 0) - mapping.base, size) | 0
      } catch (error) {
        return this.failed(error)
      }
    }
    const writer = (size: number, otherwise: NonNullable<typeof write8>) => (address: number, value: number) => {
      const mapping = this.windows.at(address >>> 0)
      if (!mapping) return otherwise(address, value)
      try {
        mapping.window.write((address >>> 0) - mapping.base, size, value >>> 0)
      } catch (error) {
        this.failed(error)
      }
    }
    memory_map_read8[block] = reader(1, read8)
    memory_map_read32[block] = reader(4, read32!)
    memory_map_write8[block] = writer(1, write8!)
    memory_map_write32[block] = writer(4, write32!)
    return () => {
      memory_map_read8[block] = read8
      memory_map_read32[block] = read32
      memory_map_write8[block] = write8
      memory_map_write32[block] = write32
    }
  }

  mapPorts(port: number, window: Window): () => void {
    const { ports } = this.cpu.io
    const undo: (() => void)[] = []
    for (let offset = 0; offset < window.length; offset++) {
      const [number, there] = [port + offset, ports[port + offset]!]
      const read = (size: number) => () => this.guard(() => window.read(offset, size)) | 0
      const write = (size: number) => (value: number) => this.guard(() => window.write(offset, size, value >>> 0))
      const entry: PortEntry = {
        ...{ read8: read(1), read16: read(2), read32: read(4) },
        ...{ write8: write(1), write16: write(2), write32: write(4), device: undefined },
      }
      ports[number] = entry
      undo.push(() => {
        if (ports[number] === entry) ports[number] = there
      })
    }
    return once(() => {
      for (const restore of undo) restore()
    })
  }

  /** What answers at these ports now, as a window: for a device of ours that stands in front of one of v86's. */
  ports(port: number, length: number): Window {
    const entries = this.cpu.io.ports.slice(port, port + length)
    return {
      length,
      read: (offset, size) => {
        const entry = entries[offset]!
        if (size === 1) return entry.read8.call(entry.device, port + offset) & 0xff
        if (size === 2) return entry.read16.call(entry.device, port + offset) & 0xffff
        return entry.read32.call(entry.device, port + offset) >>> 0
      },
      write: (offset, size, value) => {
        const entry = entries[offset]!
        if (size === 1) entry.write8.call(entry.device, value & 0xff)
        else if (size === 2) entry.write16.call(entry.device, value & 0xffff)
        else entry.write32.call(entry.device, value | 0)
      },
    }
  }

  private guard<T>(access: () => T): T | -1 {
    try {
      return access()
    } catch (error) {
      return this.failed(error)
    }
  }

  /** An exception must not unwind v86's stack: it is told, and the guest reads ones. */
  private failed(error: unknown): -1 {
    this.events.fault(error)
    return -1
  }

  /** Types on the first serial port. */
  serial(bytes: Uint8Array) {
    this.typeSerial(bytes)
  }
}

/** RAM, in wasm memory, whose views die when that memory grows. */
class BoardMemory implements GuestMemory {
  readonly size: number
  private readonly base: number
  holeEnd = HOLE.end
  // As long as they are not empty they are good.
  private asBytes!: Uint8Array<ArrayBuffer>
  private asView!: DataView<ArrayBuffer>
  private asWords!: Uint32Array<ArrayBuffer>
  private asHalves!: Uint16Array<ArrayBuffer>

  constructor(private readonly cpu: Cpu) {
    this.size = cpu.memory_size[0]!
    this.base = cpu.mem8.byteOffset
    this.refresh()
  }

  private refresh() {
    const { base, size } = this
    const buffer = this.cpu.wasm_memory.buffer as ArrayBuffer
    this.asBytes = new Uint8Array(buffer, base, size)
    this.asView = new DataView(buffer, base, size)
    this.asWords = new Uint32Array(buffer, base, size >>> 2)
    this.asHalves = new Uint16Array(buffer, base, size >>> 1)
  }

  private get bytes() {
    if (this.asBytes.length === 0) this.refresh()
    return this.asBytes
  }
  get view() {
    if (this.asBytes.length === 0) this.refresh()
    return this.asView
  }
  get words() {
    if (this.asBytes.length === 0) this.refresh()
    return this.asWords
  }
  get halves() {
    if (this.asBytes.length === 0) this.refresh()
    return this.asHalves
  }

  has(address: number, length: number) {
    const end = address + length
    return address >= 0 && length >= 0 && end <= this.size && (end <= HOLE.start || address >= this.holeEnd)
  }

  slice(address: number, length: number) {
    return this.bytes.subarray(address, address + length)
  }

  target(address: number, length: number) {
    this.stored(address, length)
    return this.slice(address, length)
  }

  write(address: number, bytes: Uint8Array) {
    this.stored(address, bytes.length)
    this.bytes.set(bytes, address)
  }

  setU16(address: number, value: number) {
    this.stored(address, 2)
    this.view.setUint16(address, value, true)
  }

  setU32(address: number, value: number) {
    this.stored(address, 4)
    this.view.setUint32(address, value, true)
  }

  stored(address: number, length: number) {
    if (length > 0) this.cpu.jit_dirty_cache(address, address + length)
  }

  /** Zeroes, without touching a page that nobody wrote: those cost the host no memory. */
  clear() {
    for (let page = 0; page < this.size; page += 4096) {
      if (!this.cpu.is_memory_zeroed(page, 4096)) this.slice(page, 4096).fill(0)
    }
  }
}

/** Where wasm ends when a fault cannot be delivered: Rust's panic, or a fault that faults until the stack is full. */
const undeliverable = (error: unknown) =>
  (error instanceof WebAssembly.RuntimeError && error.message.startsWith('unreachable')) ||
  error instanceof RangeError ||
  (error instanceof Error && error.name === 'InternalError')

const once = (work: () => void) => {
  let done = false
  return () => {
    if (!done) work()
    done = true
  }
}

/** Has v86's code ready when the first board is made. */
export const warmUp = () =>
  loadV86(false).then(
    () => {},
    () => {}, // told to whoever makes a board
  )

/** v86 decides when it is loaded how it will yield: where `Worker` exists, through a worker of its own, which we do not want. */
async function loadV86(ownYield: boolean) {
  const there = ownYield ? undefined : Object.getOwnPropertyDescriptor(globalThis, 'Worker')
  if (there) Reflect.deleteProperty(globalThis, 'Worker')
  try {
    return (await import('v86')).V86
  } finally {
    if (there) Object.defineProperty(globalThis, 'Worker', there)
  }
}
