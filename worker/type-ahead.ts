import { InputBuffer } from '../src/devices/console-input.ts'

/** Milliseconds after its first word when a guest that never rests is taken to listen. */
const PATIENCE = 1000

/**
 * Keeps what is typed at a console until its guest listens. Linux throws away what reaches a console whose port it has not made
 * yet, and without MULTIPORT it does not say when it has: it has when the CPU first comes to rest after the driver is there.
 */
export class TypeAhead {
  private readonly held = new InputBuffer(1 << 20)
  private spoke: number | undefined
  private listening = false

  /** `deliver` types into the device and answers how many bytes it had to drop. */
  constructor(private readonly deliver: (bytes: Uint8Array) => number) {}

  /** Answers how many bytes were dropped. */
  input(bytes: Uint8Array): number {
    return this.listening ? this.deliver(bytes) : this.held.add(bytes)
  }

  /** To be called after each slice of the CPU, at `now` milliseconds; `driven` by a driver that takes input; `heard` from it. */
  look(now: number, { resting, driven, heard }: { resting: boolean; driven: boolean; heard: boolean }) {
    if (this.listening) return
    if (heard) this.spoke ??= now
    if (!driven || !(resting || now - (this.spoke ?? now) >= PATIENCE)) return
    this.listening = true
    const bytes = new Uint8Array(this.held.length)
    this.held.take(bytes)
    if (bytes.length > 0) this.deliver(bytes)
  }
}
