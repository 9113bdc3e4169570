const SECTOR = 512

interface Write {
  readonly value: number
  readonly begun: number
  /** It is no longer under way, well or not. */
  over: number
  /** It succeeded. */
  ended: number
  /** What it wrote lasts from now on, whatever happens. */
  lasting: number
}

/** All that was asked of each sector of a disk, and when: from it follows what a read may find. */
export class History {
  /** How many requests ended so. */
  successes = 0
  failures = 0
  private now = 0
  private readonly sectors: Write[][]

  /** `image` is what is on the disk to begin with. */
  constructor(image: Uint8Array) {
    this.sectors = Array.from({ length: image.length / SECTOR }, (_, i) => [
      { value: sum(image, i), begun: -1, over: -1, ended: -1, lasting: -1 },
    ])
  }

  /**
   * Call it before the request is made, and one of what it returns after: `done` says what is wrong with it, if anything.
   * Of one that fails, the bytes may be there. `what`: read, write, zero, discard (which promises nothing), flush.
   */
  begin(what: string, offset = 0, bytes: Uint8Array = new Uint8Array(0)): { done(): string[]; failed(): void } {
    const begun = ++this.now
    const { done, failed } = this.request(what, offset, bytes, begun)
    return {
      done: () => {
        this.successes++
        return done()
      },
      failed: () => {
        this.failures++
        failed()
      },
    }
  }

  private request(what: string, offset: number, bytes: Uint8Array, begun: number) {
    if (what === 'read') return { done: () => this.faults(offset, bytes, begun), failed() {} }
    if (what === 'flush') return { done: () => this.flushed(begun), failed() {} }
    const value = what === 'write' ? bytes : new Uint8Array(bytes.length)
    const writes = Array.from({ length: bytes.length / SECTOR }, (_, k) => {
      const write = { value: sum(value, k), begun, over: Infinity, ended: Infinity, lasting: Infinity }
      this.sectors[offset / SECTOR + k]!.push(write)
      return write
    })
    const over = (well: boolean) => {
      const now = ++this.now
      for (const write of writes) write.over = now
      if (well) for (const write of writes) write.ended = now
    }
    return {
      done: (): string[] => {
        over(what !== 'discard')
        return []
      },
      failed: () => over(false),
    }
  }

  /** What is wrong with the whole disk as it is found after a crash. */
  afterCrash(image: Uint8Array): string[] {
    return this.sectors.flatMap((writes, i) => complaint(writes, sum(image, i), i, 'lasting', Infinity))
  }

  private flushed(begun: number): string[] {
    const now = ++this.now
    for (const writes of this.sectors) for (const write of writes) if (write.ended < begun) write.lasting = now
    return []
  }

  private faults(offset: number, found: Uint8Array, begun: number): string[] {
    return Array.from({ length: found.length / SECTOR }, (_, k) => offset / SECTOR + k).flatMap((sector, k) =>
      complaint(this.sectors[sector]!, sum(found, k), sector, 'ended', begun),
    )
  }
}

/** The bytes of any write may be found that no later one had surely replaced by then. */
function complaint(writes: Write[], value: number, sector: number, sure: 'ended' | 'lasting', before: number) {
  const may = writes.filter(old => !writes.some(later => later.begun > old.over && later[sure] < before))
  if (may.some(write => write.value === value)) return []
  return [`sector ${sector} is ${value}, and may be ${may.map(write => write.value).join(' or ')}`]
}

/** Tells the sectors of different writes apart. */
const sum = (bytes: Uint8Array, sector: number) => bytes[sector * SECTOR]! * 256 + bytes[sector * SECTOR + 511]!
