/** Gives the CPU its slices and everything else its turn between them. One thread, no second worker. */
export class Scheduler {
  private readonly holds = new Set<string>()
  private readonly defer: () => void
  private queued = false
  private due: (() => void)[] = []
  private timer: ReturnType<typeof setTimeout> | undefined
  private woken = false
  /** The last turn came by the queue: the next may begin without it once, and nobody else waits for ever. */
  private eager = false

  /**
   * `slice` runs the CPU for about a millisecond and answers for how many it wants to sleep, 0 for none.
   * What it throws goes to `failed`, and the CPU runs no more until `release`.
   */
  constructor(
    private readonly slice: () => number,
    private readonly failed: (error: unknown) => void,
  ) {
    this.defer = deferrer(() => {
      this.eager = true
      this.tick()
    })
    this.holds.add('stopped')
  }

  /** The CPU stands still until everyone who holds it has released it. It starts out held, for `stopped`. */
  hold(reason: string) {
    this.holds.add(reason)
    clearTimeout(this.timer)
    this.timer = undefined
  }

  release(reason: string) {
    if (this.holds.delete(reason) && this.holds.size === 0) this.queue()
  }

  held(reason: string) {
    return this.holds.has(reason)
  }

  /** Ends a sleep at once, and lets none begin after the slice that runs. */
  wake() {
    this.woken = true
    if (this.timer === undefined) return
    clearTimeout(this.timer)
    this.timer = undefined
    if (!this.eager) return this.queue()
    this.eager = false
    this.queued = true
    queueMicrotask(() => this.tick()) // as soon as whoever woke it is done
  }

  /** Has `work` done just before the CPU runs next, which will be soon: what comes until then is dealt with together. */
  soon(work: () => void) {
    this.due.push(work)
    this.wake()
  }

  private queue() {
    if (this.queued) return
    this.queued = true
    this.defer()
  }

  private tick() {
    this.queued = false
    if (this.holds.size > 0 || this.timer !== undefined) return
    try {
      if (this.due.length > 0) for (const work of this.due.splice(0)) work()
      this.woken = false
      const idle = this.slice()
      if (this.holds.size > 0) return
      if (idle > 0 && !this.woken && this.due.length === 0) this.sleep(idle)
      else this.queue()
    } catch (error) {
      this.hold('stopped')
      this.failed(error)
    }
  }

  /** In milliseconds. A timer set from a timer is slowed down by browsers, so the CPU does not run in the timer itself. */
  private sleep(idle: number) {
    this.timer = setTimeout(() => {
      this.timer = undefined
      this.queue()
    }, Math.ceil(idle))
  }
}

/** A function that has `work` called soon, after whatever else is waiting. A message comes later than a task, but everywhere. */
function deferrer(work: () => void): () => void {
  const { setImmediate, scheduler } = globalThis as {
    setImmediate?: (work: () => void) => void
    scheduler?: { postTask?(work: () => void): Promise<void> }
  }
  if (setImmediate) return () => setImmediate(work)
  if (scheduler?.postTask) return () => void scheduler.postTask!(work)
  const { port1, port2 } = new MessageChannel()
  port1.onmessage = work
  return () => port2.postMessage(0)
}
