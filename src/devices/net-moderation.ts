import type { Virtqueue } from '../virtio/queue.ts'

/** Lets a device do something later. */
export interface Timer {
  /** Calls `work` in so many milliseconds, unless the returned function is called before. */
  after(milliseconds: number, work: () => void): () => void
}

/** How many packets, or how long, the driver would have us wait before it is told of them (§5.1.6.5.7). */
export class Moderation {
  packets = 0
  microseconds = 0
  private waiting = 0
  private release: (() => void) | undefined

  constructor(private readonly timer: Timer | undefined) {}

  /** Runs `work` on the queue; it answers for how many packets it has completed. */
  process(queue: Virtqueue, work: () => number) {
    if (this.microseconds === 0 || !this.timer) {
      queue.process(work)
      return
    }
    let done = 0
    const release = this.release ? undefined : queue.hold()
    queue.process(() => {
      done = work()
    })
    if (release) {
      const cancel = this.timer.after(this.microseconds / 1000, () => this.flush())
      this.release = () => {
        cancel()
        release()
      }
    }
    this.waiting += done
    if (this.waiting === 0 || (this.packets > 0 && this.waiting >= this.packets)) this.flush()
  }

  /** Tells the driver of everything that waits. */
  flush() {
    const { release } = this
    this.release = undefined
    this.waiting = 0
    release?.()
  }
}
