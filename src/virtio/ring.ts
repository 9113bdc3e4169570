import type { Chain } from './chain.ts'
import { GuestError, type GuestMemory } from './machine.ts'
import type { RingFeatures, Virtqueue } from './queue.ts'

/** Bytes of a descriptor of either format, of which an indirect table is made (§2.7.5, §2.8.13). */
const DESCRIPTOR = 16
/** Entries an indirect table may have: Linux makes more than a queue holds, and something must bound our work. */
export const MAX_INDIRECT = 1024

/** The rings of a running queue, seen from the device: what both formats have in common. */
export abstract class Ring {
  /** Addresses in RAM. */
  protected readonly desc: number
  protected readonly driver: number
  protected readonly device: number
  /** In descriptors. */
  protected readonly size: number
  /** Addresses between which all three areas lie. */
  protected readonly low: number
  protected readonly high: number

  constructor(
    protected readonly queue: Virtqueue,
    protected readonly memory: GuestMemory,
    protected readonly features: RingFeatures,
  ) {
    const areas = queue.areas(features)
    // Registers make addresses of halves, which leaves them floating-point numbers: here they become integers again.
    this.desc = queue.desc >>> 0
    this.driver = queue.driver >>> 0
    this.device = queue.device >>> 0
    this.low = Math.min(...areas.map(({ start }) => start)) >>> 0
    this.high = Math.max(...areas.map(({ end }) => end)) >>> 0
    this.size = queue.size
  }

  /** Fills `chain` with the next available request, if there is one. Throws `GuestError` if it breaks the rules. */
  abstract pop(chain: Chain): boolean
  /** More than 0 if `pop` would give something. */
  abstract readonly waiting: number
  /** Writes a chain into the used ring. */
  abstract put(chain: Chain): void
  /** Shows the driver all that was put; `true` if it wants an interrupt for that. */
  abstract publish(): boolean

  /** §2.7.5.3, §2.8.7: how many descriptors an indirect table holds; refuses what cannot be one. */
  protected indirectEntries(address: number, length: number): number {
    if (!this.features.indirect)
      throw new GuestError('2.7.5.3.1', 'an indirect descriptor, though INDIRECT_DESC was not negotiated')
    if (length === 0 || length % DESCRIPTOR !== 0)
      throw new GuestError('2.7.5.3', `an indirect table of ${length} bytes is not made of descriptors`)
    const entries = length / DESCRIPTOR
    if (entries > MAX_INDIRECT)
      throw new GuestError('2.7.5.3.1', `an indirect table of ${entries} descriptors; we take ${MAX_INDIRECT}`)
    if (!this.memory.has(address, length)) outsideRam(address, length)
    return entries
  }

  /** Refuses a buffer, somewhere between `low` and `high`, that lies over one of the areas. */
  protected keepOff(address: number, length: number, section: string) {
    const hit = this.queue.areas(this.features).some(({ start, end }) => address < end && address + length > start)
    if (hit) throw new GuestError(section, 'a buffer lies over its own ring')
  }
}

/** The words of a table that does not begin at one: an indirect table may lie anywhere. */
export const wordsOf = (bytes: Uint8Array) => new Uint32Array(bytes.slice().buffer)

// What all but never happens is kept out of the loops over descriptors: short functions are compiled into their callers.

export function outsideRam(address: number, length: number): never {
  throw new GuestError('2.7.5', `${length} bytes at 0x${address.toString(16)} are not in RAM`)
}
export function outOfOrder(section: string): never {
  throw new GuestError(section, 'a readable descriptor after a writable one')
}
