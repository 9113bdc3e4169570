import type { DriverProbe } from './probe.ts'
import type { Steps } from './steps.ts'
import type { Placement, Transport } from './transport.ts'

/** A buffer of a request, guest-physical; `length` in bytes. */
export interface Buffer {
  readonly address: number
  readonly length: number
}

/** What negotiation decided about a queue, from the driver's side. */
export interface QueueFeatures {
  readonly indirect: boolean
  readonly eventIndex: boolean
  readonly inOrder: boolean
  readonly notificationData: boolean
}

/** A request that came back. */
export interface Used<T> {
  readonly token: T
  /** Bytes the device says it wrote. */
  readonly length: number
}

/** One of the two ring formats, seen from the driver. */
export interface DriverRing<T> {
  readonly placement: Placement
  /** Descriptors not in use. */
  readonly free: number
  /** Makes a request available; `false` if the ring has no room for it. */
  add(out: readonly Buffer[], room: readonly Buffer[], token: T): boolean
  /** Takes back a used request, if there is one. */
  take(): Used<T> | undefined
  /** What the device never used, once it has been reset and touches nothing: Linux's `virtqueue_detach_unused_buf`. */
  detach(): T[]
  /** Gives the ring's own memory back. It is of no use any more. */
  release(): void
  /** Whether the device wants to hear of what was added since the last call. */
  needsKick(): boolean
  /** Asks for an interrupt at the next used request; `false` if there is one already. */
  enableInterrupts(): boolean
  disableInterrupts(): void
  /** §2.9: where the next request will go, with the wrap counter on top if packed. 16 bits. */
  readonly position: number
}

/** Whose queue it is. */
export interface QueueUser {
  /** On the bus. */
  readonly index: number
  readonly probe: DriverProbe | undefined
}

/** A virtqueue as a driver has it. */
export class DriverQueue<T = unknown> {
  /** Linux's callback: the device has used something. */
  callback: ((queue: DriverQueue<T>) => Steps) | undefined

  constructor(
    readonly index: number,
    readonly ring: DriverRing<T>,
    private readonly transport: Transport,
    private readonly features: QueueFeatures,
    private readonly user: QueueUser,
  ) {}

  add(out: readonly Buffer[], room: readonly Buffer[], token: T): boolean {
    const added = this.ring.add(out, room, token)
    if (added) this.user.probe?.add(this.user.index, this.index, out.length, room.length)
    return added
  }

  /** Notifies the device, if it wants that. */
  *kick(): Steps<boolean> {
    const wanted = this.ring.needsKick()
    this.user.probe?.kick(this.user.index, this.index, wanted)
    if (wanted) yield* this.notify()
    return wanted
  }
  /** Notifies the device, wanted or not. */
  *notify(): Steps {
    yield* this.transport.notify(this.index, this.features.notificationData ? this.ring.position : undefined)
  }

  take(): Used<T> | undefined {
    const used = this.ring.take()
    if (used) this.user.probe?.take(this.user.index, this.index, used.length)
    return used
  }

  /** All that came back. */
  *drain(): Generator<Used<T>, void> {
    for (let used = this.take(); used; used = this.take()) yield used
  }
}
