import { BLOCK } from './block-store.ts'
import type { SyncFile } from './opfs.ts'

/** In blocks. Beyond it everything kept is written out at once. */
const LIMIT = 256
/** A write of more bytes than this gains nothing by waiting. */
const LONGEST = 16 * BLOCK
/** Milliseconds after which kept blocks are written out though nobody asks. */
const IDLE = 1000

/**
 * A file whose small writes over bytes it has already are kept in memory until they are many, or a flush, or a second has
 * passed: as a disk's own write cache does. One after the other, each would cost its caller several system calls with cold caches;
 * together they cost a few microseconds each, and neighbours that came in a row only one call. Writes that make the file longer
 * need room, so they are not kept: whoever asks is told at once where there is none.
 *
 * Offsets and lengths of writes are whole blocks.
 */
export class WriteBehind implements SyncFile {
  /** Only while there are writes. */
  private bytes: Uint8Array | undefined
  /** Where in `bytes` a block of the file lies, in blocks. */
  private readonly kept = new Map<number, number>()
  /** Places taken. Some may have been given up again. */
  private taken = 0
  private size: number
  private timer: ReturnType<typeof setTimeout> | undefined

  constructor(private readonly file: SyncFile) {
    this.size = file.getSize()
  }

  read(target: Uint8Array, { at }: { at: number }): number {
    const { kept } = this
    if (kept.size === 0) return this.file.read(target, { at })
    const first = Math.floor(at / BLOCK)
    const end = at + target.length
    if (end <= (first + 1) * BLOCK && kept.has(first)) {
      this.copy(first, at, target)
      return target.length
    }
    const length = this.file.read(target, { at })
    for (let block = first; block * BLOCK < end; block++) if (kept.has(block)) this.copy(block, at, target)
    return length
  }

  write(bytes: Uint8Array, { at }: { at: number }): number {
    const { length } = bytes
    if (length > LONGEST || at + length > this.size) {
      const put = this.file.write(bytes, { at })
      this.size = Math.max(this.size, at + put)
      if (this.kept.size > 0) for (let done = 0; done < put; done += BLOCK) this.kept.delete((at + done) / BLOCK)
      return put
    }
    this.bytes ??= new Uint8Array(LIMIT * BLOCK)
    for (let done = 0; done < length; done += BLOCK) {
      const block = (at + done) / BLOCK
      let place = this.kept.get(block)
      if (place === undefined) {
        if (this.taken === LIMIT) this.writeOut()
        this.kept.set(block, (place = this.taken++))
      }
      this.bytes.set(length === BLOCK ? bytes : bytes.subarray(done, done + BLOCK), place * BLOCK)
    }
    this.timer ??= setTimeout(() => {
      this.timer = undefined
      try {
        this.writeOut()
        this.bytes = undefined
      } catch {
        // The next flush tries again, and tells.
      }
    }, IDLE)
    return length
  }

  truncate(size: number) {
    this.file.truncate(size)
    this.size = size
    for (const block of this.kept.keys()) if (block * BLOCK >= size) this.kept.delete(block)
  }

  getSize() {
    return this.size
  }

  flush() {
    this.writeOut()
    this.file.flush()
  }

  /** What was not flushed is given up. */
  close() {
    clearTimeout(this.timer)
    this.file.close()
  }

  /** In the file's order, so that neighbours which were written in a row go together. What fails stays kept, as do all others then. */
  private writeOut() {
    const { kept } = this
    if (kept.size > 0) {
      const blocks = [...kept.keys()].sort((a, b) => a - b)
      for (let i = 0; i < blocks.length; ) {
        const [block, place] = [blocks[i]!, kept.get(blocks[i]!)!]
        let count = 1
        while (blocks[i + count] === block + count && kept.get(block + count) === place + count) count++
        const run = this.bytes!.subarray(place * BLOCK, (place + count) * BLOCK)
        const put = this.file.write(run, { at: block * BLOCK })
        if (put !== run.length) throw new Error(`only ${put} bytes of ${run.length} were taken`)
        i += count
      }
      kept.clear()
    }
    this.taken = 0
  }

  /** Of a kept block, what `target` wants, which begins at `at` in the file. */
  private copy(block: number, at: number, target: Uint8Array) {
    const start = block * BLOCK
    const from = Math.max(at, start)
    const to = Math.min(at + target.length, start + BLOCK)
    const place = this.kept.get(block)! * BLOCK - start
    target.set(this.bytes!.subarray(place + from, place + to), from - at)
  }
}
