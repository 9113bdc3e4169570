import type { Chain } from './chain.ts'
import type { GuestMemory } from './machine.ts'
import { PackedRing, packedSizes } from './packed-ring.ts'
import type { Probe } from './probe.ts'
import { SplitRing, splitSizes } from './split-ring.ts'

/** What negotiation decided about the rings (§6). */
export interface RingFeatures {
  readonly packed: boolean
  readonly indirect: boolean
  readonly eventIndex: boolean
  readonly inOrder: boolean
  /** Legacy only (§6.3). */
  readonly notifyOnEmpty: boolean
}

/** One of the two ring formats, seen from the device. */
export interface Ring {
  /** Takes the next available chain. Throws `GuestError` if it breaks the rules. */
  pop(): Chain | undefined
  /** More than 0 if `pop` would give something. */
  readonly waiting: number
  /** Writes a chain into the used ring. */
  put(chain: Chain): void
  /** Shows the driver all that was put; `true` if it wants an interrupt for that. */
  publish(): boolean
}

/** What a queue tells its device's core. */
export interface QueueOwner {
  readonly memory: GuestMemory
  readonly probe: Probe | undefined
  /** The driver is to be interrupted for this queue. */
  used(queue: Virtqueue): void
  /** Runs `work`; its guest errors, at once or later, stop the device. */
  guard(work: () => unknown): void
}

/** A virtqueue, seen from the device (§2.6). Iterating it takes what the driver made available. */
export class Virtqueue implements Iterable<Chain> {
  size: number
  ready = false
  /** Guest-physical addresses of the descriptor, driver and device areas. */
  desc = 0
  driver = 0
  device = 0
  /** Counts resets: chains taken in an earlier session complete into nothing. */
  session = 0
  /** Chains taken and not yet put back. */
  inFlight = 0
  private ring: Ring | undefined
  private batches = 0
  /** With IN_ORDER: chains taken, in order, that wait for their turn to be put back. */
  private order: Chain[] | undefined
  private low = 0
  private high = 0

  constructor(
    readonly index: number,
    readonly name: string,
    readonly maxSize: number,
    private readonly owner: QueueOwner,
  ) {
    this.size = maxSize
  }

  /** Back to what it was at power-on. */
  reset() {
    this.stop()
    this.size = this.maxSize
    this.ready = false
    this.desc = this.driver = this.device = 0
  }

  /** Takes up work on the rings as they lie. Only a ready queue can start. */
  start(features: RingFeatures) {
    const { memory } = this.owner
    this.ring = features.packed ? new PackedRing(this, memory, features) : new SplitRing(this, memory, features)
    this.order = features.inOrder ? [] : undefined
    const areas = this.areas(features)
    this.low = Math.min(...areas.map(area => area.start))
    this.high = Math.max(...areas.map(area => area.end))
  }

  /** Touches the rings no more; what is under way completes into nothing. */
  stop() {
    this.ring = undefined
    this.order = undefined
    this.session++
    this.inFlight = 0
  }

  /** Whether it is being worked on: ready, and the device started. */
  get live() {
    return this.ring !== undefined
  }

  /** Where the rings lie, in bytes; `align` is what §2.7 and §2.8 demand of the start. */
  areas({ packed, eventIndex }: RingFeatures) {
    const sizes = packed ? packedSizes(this.size) : splitSizes(this.size, eventIndex)
    return [
      { start: this.desc, end: this.desc + sizes.desc, align: 16 },
      { start: this.driver, end: this.driver + sizes.driver, align: packed ? 4 : 2 },
      { start: this.device, end: this.device + sizes.device, align: 4 },
    ]
  }

  /** Whether a buffer touches this queue's own rings. */
  overlaps(address: number, length: number) {
    if (address >= this.high || address + length <= this.low) return false
    const { size, desc, driver, device } = this
    const touches = (start: number, bytes: number) => address < start + bytes && address + length > start
    const sizes = this.ring instanceof PackedRing ? packedSizes(size) : splitSizes(size, false)
    return touches(desc, sizes.desc) || touches(driver, sizes.driver) || touches(device, sizes.device)
  }

  /** More than 0 if `pop` would give something. */
  get waiting() {
    return this.ring?.waiting ?? 0
  }

  /** Takes the next chain, if there is one. Throws `GuestError` if it breaks the rules. */
  pop(): Chain | undefined {
    const chain = this.ring?.pop()
    if (chain === undefined) return
    this.inFlight++
    this.order?.push(chain)
    this.owner.probe?.pop(this.index, chain.id, chain.readable, chain.writable)
    return chain
  }

  [Symbol.iterator](): Iterator<Chain, undefined> {
    // A driver has at most `size` chains in the ring; more can only come from one that writes over it while we work.
    let budget = this.size
    return {
      next: () => {
        const chain = budget-- > 0 || this.waiting === 0 ? this.pop() : undefined
        return chain === undefined ? { done: true, value: undefined } : { done: false, value: chain }
      },
    }
  }

  /** Called by the chain. */
  complete(chain: Chain) {
    if (!chain.live || this.ring === undefined) return
    if (this.order === undefined) this.put(chain)
    else while (this.order[0]?.completed) this.put(this.order.shift()!)
    if (this.batches === 0) this.publish()
  }

  private put(chain: Chain) {
    this.inFlight--
    this.ring!.put(chain)
    this.owner.probe?.complete(this.index, chain.id, chain.written)
  }

  private publish() {
    if (this.ring?.publish()) this.owner.used(this)
  }

  /** Keeps completions from the driver until the returned function is called. */
  hold(): () => void {
    this.batches++
    let held = true
    return () => {
      if (!held) return
      held = false
      this.batches--
      if (this.batches === 0) this.publish()
    }
  }

  /**
   * Runs `work` on this queue: completions inside it reach the driver together, with one interrupt, and guest errors,
   * at once or from the promise it returns, stop the device. For kicks, and for host input that arrives between them.
   */
  process(work: (queue: this) => unknown) {
    this.batches++
    try {
      this.owner.guard(() => work(this))
    } finally {
      this.batches--
      if (this.batches === 0) this.publish()
    }
  }
}
