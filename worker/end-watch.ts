/** How much of a console's end is remembered, in bytes. */
const MEMORY = 4096

export type End = 'halted' | 'powered-off' | 'panicked'

/**
 * Tells how a kernel ended. Without ACPI a power-off and a halt both end in HLT for ever, and a panic in a busy loop: which it
 * was, only the kernel's last words say. They are looked at when the CPU has stopped or does not come to rest, never as they come.
 */
export class EndWatch {
  private readonly tails = new Map<unknown, Tail>()

  /** `source` tells the consoles apart. Keeps nothing of `bytes`. */
  output(source: unknown, bytes: Uint8Array) {
    let tail = this.tails.get(source)
    if (!tail) this.tails.set(source, (tail = new Tail()))
    tail.add(bytes)
  }

  /** The CPU halted with interrupts off. */
  halted(): End {
    if (this.panicked()) return 'panicked'
    return this.any(/reboot: Power down|Requesting system poweroff|Powering off\./) ? 'powered-off' : 'halted'
  }

  /** The CPU has been busy for a while: is it the loop a panic ends in? Nothing is printed after its last line. */
  panicked(): boolean {
    return this.any(/end Kernel panic - not syncing[^\n]*\s*$/)
  }

  private any(pattern: RegExp) {
    return [...this.tails.values()].some(tail => pattern.test(tail.text))
  }

  reset() {
    this.tails.clear()
  }
}

/** The last bytes of a stream. */
class Tail {
  private readonly ring = new Uint8Array(MEMORY)
  private next = 0

  add(bytes: Uint8Array) {
    const last = bytes.subarray(Math.max(0, bytes.length - MEMORY))
    const first = last.subarray(0, MEMORY - this.next)
    this.ring.set(first, this.next)
    this.ring.set(last.subarray(first.length), 0)
    this.next = (this.next + last.length) % MEMORY
  }

  get text() {
    const bytes = [...this.ring.subarray(this.next), ...this.ring.subarray(0, this.next)]
    return String.fromCharCode(...bytes).replace(/^\0+/, '')
  }
}
