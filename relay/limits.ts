/** A token bucket: `rate` a second on average, one second's worth at once. Times are in milliseconds. */
export class Bucket {
  #level: number
  #at: number
  constructor(
    readonly rate: number,
    now: number,
  ) {
    this.#level = rate
    this.#at = now
  }

  /** Whether `amount` may pass now; if not, nothing was taken. */
  take(amount: number, now: number) {
    this.#level = Math.min(this.rate, this.#level + ((now - this.#at) / 1000) * this.rate)
    this.#at = now
    if (this.#level < amount) return false
    this.#level -= amount
    return true
  }
}

/** How many there are of each, up to a limit for one. */
export class Tally {
  readonly #counts = new Map<string, number>()
  constructor(readonly most: number) {}

  /** Whether there was room for one more. */
  add(key: string) {
    const count = this.#counts.get(key) ?? 0
    if (count >= this.most) return false
    this.#counts.set(key, count + 1)
    return true
  }

  remove(key: string) {
    const count = this.#counts.get(key) ?? 0
    if (count > 1) this.#counts.set(key, count - 1)
    else this.#counts.delete(key)
  }
}
