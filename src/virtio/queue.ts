import { Chain } from './chain.ts'
import type { GuestMemory } from './machine.ts'
import { PackedRing, packedSizes } from './packed-ring.ts'
import type { Probe } from './probe.ts'
import type { Ring } from './ring.ts'
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

/** What a queue tells its device's core. */
export interface QueueOwner {
  readonly memory: GuestMemory
  /** The driver is to be interrupted for this queue. */
  used(queue: Virtqueue): void
  /** Has `work` done on the queue; its guest errors, at once or later, stop the device. */
  guard(work: (queue: Virtqueue) => unknown, queue: Virtqueue): void
}

const END = { done: true, value: undefined } as const

/** A virtqueue, seen from the device (§2.6). Iterating it takes what the driver made available. */
export class Virtqueue implements IterableIterator<Chain, undefined> {
  size: number
  ready = false
  /** Guest-physical addresses of the descriptor, driver and device areas. */
  desc = 0
  driver = 0
  device = 0
  /** Counts resets: chains taken in an earlier session complete into nothing. */
  session = 0
  probe: Probe | undefined = undefined
  private ring: Ring | undefined = undefined
  private batches = 0
  /** What the loop over it may still take. */
  private budget = 0
  /** With IN_ORDER: chains taken, in order, that wait for their turn to be put back. */
  private order: Chain[] | undefined = undefined
  /** The chain filled last. Devices that complete each request at once use no other. */
  private chain: Chain
  /** Others, to be filled while that one is still under way. */
  private readonly spare: Chain[] = []
  /** What `next` answers: a loop looks at it before it asks again. */
  private readonly taken: { readonly done: false; value: Chain }

  constructor(
    readonly index: number,
    readonly name: string,
    readonly maxSize: number,
    private readonly owner: QueueOwner,
  ) {
    this.size = maxSize
    this.chain = new Chain(this, owner.memory)
    this.taken = { done: false, value: this.chain }
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
  }

  /** Touches the rings no more; what is under way completes into nothing. */
  stop() {
    this.ring = undefined
    this.order = undefined
    this.session++
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

  // ---- taking ----

  /** More than 0 if `pop` would give something. */
  get waiting() {
    return this.ring?.waiting ?? 0
  }

  /** Takes the next chain, if there is one. Throws `GuestError` if it breaks the rules. */
  pop(): Chain | undefined {
    const { ring, probe } = this
    if (ring === undefined) return
    const chain = this.chain.completed ? this.chain : this.another()
    if (!ring.pop(chain)) return
    chain.session = this.session
    if (this.order !== undefined) {
      this.order.push(chain)
      this.another() // this one is not free yet when it is completed
    }
    probe?.pop(this.index, chain.id, chain.readable, chain.writable)
    return chain
  }

  private another() {
    this.chain = this.spare.pop() ?? new Chain(this, this.owner.memory)
    return this.chain
  }

  [Symbol.iterator]() {
    // A driver has at most `size` chains in the ring; more can only come from one that writes over it while we work.
    this.budget = this.size
    return this
  }

  next(): IteratorResult<Chain, undefined> {
    const chain = this.budget-- > 0 || this.waiting === 0 ? this.pop() : undefined
    if (chain === undefined) return END
    const { taken } = this
    if (taken.value !== chain) taken.value = chain
    return taken
  }

  // ---- giving back ----

  /** Called by the chain, in the session it was taken in. */
  complete(chain: Chain) {
    if (this.order === undefined) this.put(chain)
    else while (this.order[0]?.completed) this.put(this.order.shift()!)
    if (this.batches === 0) this.publish()
  }

  private put(chain: Chain) {
    this.ring!.put(chain)
    this.probe?.complete(this.index, chain.id, chain.written)
    if (chain !== this.chain) this.spare.push(chain)
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
  process(work: (queue: Virtqueue) => unknown) {
    this.batches++
    try {
      this.owner.guard(work, this)
    } finally {
      this.batches--
      if (this.batches === 0) this.publish()
    }
  }
}
