/** What we use of npm `v86` 0.5.462 that its own declarations do not name. Only `v86.ts` may import this. */

/** A typed array over wasm memory behind a Proxy that makes it anew at every access: good for setting up, never for hot paths. */
type Registers = Int32Array<ArrayBuffer>

/** Each handler is called with `device` as its `this`. */
export interface PortEntry {
  read8(port: number): number
  read16(port: number): number
  /** Signed. */
  read32(port: number): number
  write8(value: number): void
  write16(value: number): void
  /** Signed. */
  write32(value: number): void
  device: unknown
}

export interface PciDevice {
  readonly name: string
  readonly pci_bars: readonly ({ readonly size: number } | undefined)[]
}

export interface Cpu {
  readonly wasm_memory: WebAssembly.Memory
  readonly memory_size: Registers
  readonly mem8: Uint8Array<ArrayBuffer>

  readonly reg32: Registers
  readonly flags: Registers
  readonly cr: Registers
  readonly gdtr_offset: Registers
  readonly gdtr_size: Registers
  readonly protected_mode: Registers
  readonly is_32: Registers
  readonly stack_size_32: Registers
  readonly segment_is_null: Registers
  readonly segment_offsets: Registers
  readonly segment_limits: Registers
  readonly segment_access_bytes: Registers
  readonly sreg: Registers
  readonly instruction_pointer: Registers
  readonly instruction_counter: Registers
  readonly in_hlt: Registers

  readonly io: { readonly ports: PortEntry[] }
  /** By address >>> 17. Addresses come and values go signed. In RAM there is none. */
  readonly memory_map_read8: (((address: number) => number) | undefined)[]
  readonly memory_map_read32: (((address: number) => number) | undefined)[]
  readonly memory_map_write8: (((address: number, value: number) => void) | undefined)[]
  readonly memory_map_write32: (((address: number, value: number) => void) | undefined)[]
  /** Called by wasm for every 16-bit store outside RAM. */
  mmap_write16(address: number, value: number): void

  /** Runs for about a millisecond. Answers how many milliseconds the CPU can sleep, 0 if it is busy. */
  main_loop(): number
  handle_irqs(): void
  device_raise_irq(irq: number): void
  device_lower_irq(irq: number): void
  /** Where the two interrupt controllers' fields lie in wasm memory. */
  get_pic_addr_master(): number
  get_pic_addr_slave(): number
  jit_dirty_cache(start: number, end: number): void
  /** Index 0: whether hot code is left to the interpreter. */
  set_jit_config(index: number, value: number): void
  is_memory_zeroed(address: number, length: number): boolean
  update_state_flags(): void
  reset_cpu(): void

  /** Files for a BIOS to find by QEMU's fw_cfg device. */
  readonly option_roms: { readonly name: string; readonly data: Uint8Array }[]

  /** By bus, device and function. What is missing is not on the bus. */
  readonly devices: { readonly pci: { readonly devices: (PciDevice | undefined)[]; readonly device_spaces: unknown[] } }

  /** What `save_state` and `restore_state` do about RAM. */
  pack_memory(): { bitmap: { get_buffer(): ArrayBuffer }; packed_memory: Uint8Array }
  unpack_memory(): void

  /** Called by wasm when an interrupt ends a HLT. */
  stop_idling(): void
  /** Called when the guest pulls the reset line: keyboard controller, port 0xCF9. */
  reboot_internal(): void
}

import type { V86Options } from 'v86'
/** The declarations know only images v86 opens itself; what has `load`, `get` and `set` will do as well. */
export type V86Image = NonNullable<V86Options['cdrom']>

/** The object behind the public one. */
export interface Emulator {
  readonly v86: { readonly cpu: Cpu }
}
