/**
 * What the guest's half does, for an observer: the one slot is at the bus, and while it is empty it costs nothing.
 * A device is told by its index on the bus. Register accesses are not here: each of them is a step.
 */
export interface DriverProbe {
  /** A driver's id table was held against a device. */
  match(device: number, driver: string, fits: boolean): void
  /** Bits were added to the device status; 0 is a reset. */
  status(device: number, bits: number): void
  /** What the device offers, and what of it is taken. */
  negotiate(device: number, offered: bigint, taken: bigint): void
  /** A driver gave a device up; a negative error number. */
  failed(device: number, driver: string, error: number): void
  /** A request was made available: how many readable and writable buffers. */
  add(device: number, queue: number, out: number, room: number): void
  kick(device: number, queue: number, notified: boolean): void
  /** A used request was taken back: bytes the device says it wrote. */
  take(device: number, queue: number, length: number): void
  /** The handler ran and found these causes (`InterruptCause`). */
  interrupt(device: number, causes: number): void
}
