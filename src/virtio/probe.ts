/** Why a device interrupts. */
export type Cause = 'queue' | 'config'

/**
 * What an observer of one device may see. Every call site is `probe?.event(…)`: absent, it costs a null check, and
 * its arguments are not evaluated. Numbers only: names and bits are decoded by whoever shows them.
 */
export interface Probe {
  /** A register access, by the window it went through and the offset in it; `size` in bytes. */
  access(window: WindowKind, write: boolean, offset: number, size: number, value: number): void
  status(before: number, after: number): void
  kick(queue: number): void
  /** The device took a chain: its head (or buffer ID), its readable and its writable bytes. */
  pop(queue: number, head: number, readable: number, writable: number): void
  complete(queue: number, head: number, written: number): void
  /** A cause was raised, or all were acknowledged and the line went down. */
  interrupt(cause: Cause | 'none', level: boolean): void
  fault(error: Error): void
}

/** The places a register can live in: §4.2.2, §4.1.4.3–4.1.4.6, §4.1.4.10. */
export type WindowKind = 'mmio' | 'common' | 'notify' | 'isr' | 'device' | 'legacy' | 'pci'
