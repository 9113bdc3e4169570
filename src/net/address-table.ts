/** Which station has which IPv4 address of a LAN, and for how long. */

/** Milliseconds since some moment; never goes back. */
export interface Clock {
  now(): number
}

export interface Lease {
  readonly ip: number
  readonly mac: number
  /** As others look it up, without the domain: one label of a-z, 0-9 and `-`. */
  readonly name?: string
  /** On the table's clock, in milliseconds. */
  readonly until: number
}

export class AddressTable {
  readonly #leases = new Map<number, Lease>()
  constructor(readonly clock: Clock) {}

  /** The lease of an address, if it has not run out. */
  at(ip: number): Lease | undefined {
    const lease = this.#leases.get(ip)
    return lease && lease.until > this.clock.now() ? lease : undefined
  }

  /** Ends what somebody else had on the same address. */
  set(lease: Lease) {
    this.#leases.set(lease.ip, lease)
  }

  release(ip: number) {
    this.#leases.delete(ip)
  }

  /** Those that have not run out; the others are forgotten on the way. */
  *[Symbol.iterator](): Generator<Lease> {
    const now = this.clock.now()
    for (const lease of this.#leases.values()) {
      if (lease.until > now) yield lease
      else this.#leases.delete(lease.ip)
    }
  }

  /** Those of one station, in no particular order. */
  of(mac: number): Lease[] {
    return [...this].filter(lease => lease.mac === mac)
  }

  named(name: string): Lease | undefined {
    return [...this].find(lease => lease.name === name)
  }
}
