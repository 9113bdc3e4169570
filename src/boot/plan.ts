/** What has to stand in guest RAM and in the CPU for a kernel to start, as plain data: any machine can carry it out. */

/** Bytes to store at a physical address. RAM behind them, up to `length`, is zeroed. */
export interface Segment {
  /** What it is, for progress and for the inspector: `kernel`, `initrd`, `boot_params`, `command line`, `GDT`. */
  readonly name: string
  readonly address: number
  readonly bytes: Uint8Array
  /** In RAM, in bytes; at least `bytes.length`. */
  readonly length: number
}

/** One segment register as the CPU holds it: selector and the descriptor behind it. */
export interface SegmentRegister {
  readonly selector: number
  readonly base: number
  readonly limit: number
  /** The descriptor's access byte: present, ring, type. */
  readonly access: number
}

/** The CPU at the kernel's first instruction: 32-bit protected mode, paging and interrupts off. */
export interface CpuStart {
  /** Physical address of the first instruction. */
  readonly eip: number
  /** Physical address of `boot_params`. */
  readonly esi: number
  readonly esp: number
  readonly cr0: number
  readonly eflags: number
  /** Every general register not named above is zero. */
  readonly gdtr: { readonly base: number; readonly limit: number }
  readonly cs: SegmentRegister
  /** For ds, es, fs, gs and ss alike. */
  readonly data: SegmentRegister
}

export interface BootPlan {
  /** They do not overlap and lie in RAM. */
  readonly segments: readonly Segment[]
  readonly cpu: CpuStart
}

/** This cannot be booted here. The message says what it is and what to do. */
export class BootError extends Error {
  override name = 'BootError'
}
