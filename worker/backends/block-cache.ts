/**
 * Blocks that were lately fetched or stored, so that reading them again needs no waiting: at most `limit`, of which those that
 * came first go first, and none once nobody has read for `idle` milliseconds (0: they stay).
 */
export class BlockCache {
  private readonly blocks = new Map<number, Uint8Array>()
  /** Blocks being fetched, and by which fetch: one that is changed meanwhile is not kept. */
  private readonly fetching = new Map<number, number>()
  private fetches = 0
  private timer: ReturnType<typeof setTimeout> | undefined
  private used = false

  constructor(
    private readonly limit: number,
    private readonly idle: number,
  ) {}

  get size() {
    return this.blocks.size
  }

  get(block: number): Uint8Array | undefined {
    this.used = true
    return this.blocks.get(block)
  }

  /** What is there from now on. The cache keeps `bytes` itself. */
  put(block: number, bytes: Uint8Array) {
    if (this.limit === 0) return
    this.blocks.set(block, bytes)
    if (this.blocks.size > this.limit) this.blocks.delete(this.blocks.keys().next().value!)
    if (this.idle > 0) this.timer ??= setTimeout(() => this.look(), this.idle)
  }

  /** Something else is there from now on. */
  drop(block: number) {
    this.blocks.delete(block)
    this.fetching.delete(block)
  }

  /** These are being fetched; call the answer for each with what was found. */
  fetch(block: number, count: number): (block: number, bytes: Uint8Array) => void {
    const fetch = ++this.fetches
    for (let i = 0; i < count; i++) this.fetching.set(block + i, fetch)
    return (block, bytes) => {
      if (this.fetching.get(block) !== fetch) return
      this.fetching.delete(block)
      this.put(block, bytes)
    }
  }

  clear() {
    clearTimeout(this.timer)
    this.timer = undefined
    this.blocks.clear()
    this.fetching.clear()
  }

  private look() {
    this.timer = undefined
    if (!this.used) return this.clear()
    this.used = false
    this.timer = setTimeout(() => this.look(), this.idle)
  }
}
