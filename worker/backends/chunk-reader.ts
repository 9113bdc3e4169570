import type { BlockBackend } from '../../src/devices/block-backend.ts'

/** Where chunks come from. Fails with `BackendError`. */
export interface ChunkSource {
  /** In bytes. */
  readonly capacity: number
  /** In bytes; the last one may be shorter. */
  readonly chunkSize: number
  /** Known to be all zeroes, so that nobody need fetch it. */
  isZero?(index: number): boolean
  load(index: number): Promise<Uint8Array>
  close?(): void | Promise<void>
}

export interface ChunkReaderOptions {
  /** Chunks under way at once. */
  readonly flights?: number
  /** Chunks fetched ahead of a sequential reader, at most. */
  readonly ahead?: number
  /** Chunks kept in memory. */
  readonly kept?: number
  /** Chunks to fetch when nothing else is to be done, in this order. */
  readonly prefetch?: readonly number[]
  readonly serial?: string
}

/** Who waits for a chunk: a guest before everything, a reader to come before the list of a boot. */
const Urgency = { GUEST: 0, AHEAD: 1, PREFETCH: 2 } as const

interface Flight {
  readonly index: number
  urgency: number
  readonly promise: Promise<Uint8Array>
  start(): void
}

/**
 * A read-only disk of chunks that are slow to come by. One flight per chunk however many wait for it, a few flights at
 * once, the guest's first; runs of reads are recognised and fetched ahead of.
 */
export class ChunkReader implements BlockBackend {
  readonly async = true
  readonly blockSize = 4096
  readonly capacity: number
  readonly serial: string | undefined
  /** Chunks in the order they were first read: the list to prefetch next time. */
  readonly touched: number[] = []
  private readonly seen: Uint8Array
  /** Oldest first. */
  private readonly recent = new Map<number, Uint8Array>()
  private readonly flights = new Map<number, Flight>()
  private readonly waiting: Flight[] = []
  private flying = 0
  private last = -1
  private run = 0
  private prefetch: number[]
  /** Fetched by the list of a boot and not yet read: the list waits before these push one another out. */
  private readonly unread = new Set<number>()
  private closed = false
  private readonly limits

  constructor(
    readonly source: ChunkSource,
    { flights = 6, ahead = 8, kept = 12, prefetch = [], serial }: ChunkReaderOptions = {},
  ) {
    this.capacity = source.capacity
    this.serial = serial
    this.limits = { flights, ahead, kept }
    this.seen = new Uint8Array(Math.ceil(source.capacity / source.chunkSize))
    this.prefetch = prefetch.filter(index => index < this.seen.length).reverse()
    this.fill()
  }

  readNow(offset: number, target: Uint8Array): boolean {
    return this.each(offset, target, (index, from, piece) => {
      if (this.zero(index)) piece.fill(0)
      else {
        const chunk = this.recent.get(index)
        if (!chunk) return false
        piece.set(chunk.subarray(from, from + piece.length))
      }
      this.touch(index)
      return true
    })
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    const waits: Promise<void>[] = []
    this.each(offset, target, (index, from, piece) => {
      this.touch(index)
      if (this.zero(index)) piece.fill(0)
      else
        waits.push(this.chunk(index, Urgency.GUEST).then(chunk => piece.set(chunk.subarray(from, from + piece.length))))
      return true
    })
    await Promise.all(waits)
  }

  async close() {
    this.closed = true
    this.prefetch = []
    await this.source.close?.()
  }

  private zero(index: number) {
    return this.source.isZero?.(index) ?? false
  }

  private each(offset: number, target: Uint8Array, visit: (index: number, from: number, piece: Uint8Array) => boolean) {
    const { chunkSize } = this.source
    for (let at = 0; at < target.length; ) {
      const index = Math.floor((offset + at) / chunkSize)
      const from = (offset + at) % chunkSize
      const length = Math.min(chunkSize - from, target.length - at)
      if (!visit(index, from, target.subarray(at, at + length))) return false
      at += length
    }
    return true
  }

  /** Notes a read by the guest, and runs ahead of it when its reads follow one another. */
  private touch(index: number) {
    if (!this.seen[index]) {
      this.seen[index] = 1
      this.touched.push(index)
      if (this.unread.delete(index)) queueMicrotask(() => this.fill())
    }
    // One request may touch its chunks twice: once to see whether they are at hand, once to wait for them.
    if (index <= this.last && index > this.last - this.limits.ahead) return
    this.run = index === this.last + 1 ? this.run + 1 : 0
    this.last = index
    if (this.run === 0) return
    // Twice as far with every step of the run: a short run costs little, a long one keeps all flights busy.
    const reach = Math.min(this.limits.ahead, 2 ** this.run)
    for (let i = 1; i <= reach && index + i < this.seen.length; i++)
      if (!this.zero(index + i) && !this.recent.has(index + i)) this.chunk(index + i, Urgency.AHEAD)
  }

  private chunk(index: number, urgency: number): Promise<Uint8Array> {
    const known = this.recent.get(index)
    if (known) {
      this.recent.delete(index)
      this.recent.set(index, known)
      return Promise.resolve(known)
    }
    const flight = this.flights.get(index) ?? this.plan(index, urgency)
    flight.urgency = Math.min(flight.urgency, urgency)
    this.fill()
    return flight.promise
  }

  private plan(index: number, urgency: number): Flight {
    let start!: () => void
    const promise = new Promise<void>(resolve => {
      start = resolve
    }).then(async () => {
      try {
        const chunk = await this.source.load(index)
        this.keep(index, chunk)
        return chunk
      } finally {
        if (!this.recent.has(index)) this.unread.delete(index)
        this.flights.delete(index)
        this.flying--
        queueMicrotask(() => this.fill())
      }
    })
    promise.catch(() => {}) // told to whoever waits; the next read tries again
    const flight = { index, urgency, promise, start }
    this.flights.set(index, flight)
    this.waiting.push(flight)
    return flight
  }

  /** Starts what may start, the most urgent first. */
  private fill() {
    if (this.closed) return
    while (this.flying < this.limits.flights) {
      if (this.waiting.length === 0 && !this.planPrefetch()) return
      const next = this.waiting.reduce((a, b) => (b.urgency < a.urgency ? b : a))
      // Of the list of a boot only so much is under way that a guest's read still finds a place.
      if (next.urgency === Urgency.PREFETCH && this.flying >= this.limits.flights - 2) return
      this.waiting.splice(this.waiting.indexOf(next), 1)
      this.flying++
      next.start()
    }
  }

  private planPrefetch() {
    if (this.unread.size > this.limits.kept - this.limits.flights) return false
    for (let index: number | undefined; (index = this.prefetch.pop()) !== undefined; )
      if (!this.seen[index] && !this.recent.has(index) && !this.flights.has(index) && !this.zero(index)) {
        this.plan(index, Urgency.PREFETCH)
        this.unread.add(index)
        return true
      }
    return false
  }

  private keep(index: number, chunk: Uint8Array) {
    this.recent.set(index, chunk)
    if (this.recent.size <= this.limits.kept) return
    const kept = [...this.recent.keys()]
    const oldest = kept.find(chunk => !this.unread.has(chunk)) ?? kept[0]!
    this.recent.delete(oldest)
    this.unread.delete(oldest)
  }
}
