import type { SyncFile, SyncFiles } from '../../worker/backends/opfs.ts'

export class Killed extends Error {}

/** Ends the life of everything that shares it, at a step chosen beforehand. */
export class Life {
  steps = 0
  constructor(readonly last = Number.POSITIVE_INFINITY) {}
  step() {
    if (++this.steps > this.last) throw new Killed(`killed at step ${this.last}`)
  }
}

/** A file in memory that knows what a killed process and what a lost supply of power leave of it. */
export class UnreliableFile implements SyncFile {
  private bytes: Uint8Array
  /** As after the last flush. */
  private lasting: Uint8Array
  /** Pages stored to since then. */
  private readonly since = new Set<number>()
  /** Bytes that may still be written before the quota is used up. */
  room = Number.POSITIVE_INFINITY
  open = true

  constructor(
    private readonly life = new Life(),
    bytes: Uint8Array = new Uint8Array(0),
  ) {
    this.bytes = bytes.slice()
    this.lasting = bytes.slice()
  }
  read(target: Uint8Array, { at }: { at: number }) {
    const found = this.bytes.subarray(at, at + target.length)
    target.set(found)
    return found.length
  }
  write(bytes: Uint8Array, { at }: { at: number }) {
    this.life.step()
    const end = at + bytes.length
    if (end > this.bytes.length) {
      if ((this.room -= end - this.bytes.length) < 0) throw new DOMException('full', 'QuotaExceededError')
      const longer = new Uint8Array(end)
      longer.set(this.bytes)
      this.bytes = longer
    }
    this.bytes.set(bytes, at)
    for (let page = Math.floor(at / 4096); page * 4096 < end; page++) this.since.add(page)
    return bytes.length
  }
  truncate(size: number) {
    this.life.step()
    const bytes = new Uint8Array(size)
    bytes.set(this.bytes.subarray(0, size))
    this.bytes = bytes
  }
  getSize() {
    return this.bytes.length
  }
  flush() {
    this.life.step()
    this.lasting = this.bytes.slice()
    this.since.clear()
  }
  close() {
    this.open = false
  }

  /** The process is gone; the system it ran on is not. */
  afterKill(life = new Life()) {
    return new UnreliableFile(life, this.bytes)
  }
  /** The power was gone: of what was not flushed, any page may have got through, and the length may be either. */
  afterPowerLoss(chance: () => boolean, life = new Life()) {
    const bytes = new Uint8Array(chance() ? this.bytes.length : this.lasting.length)
    bytes.set(this.lasting.subarray(0, bytes.length))
    for (const page of this.since) {
      const piece = this.bytes.subarray(page * 4096, Math.min((page + 1) * 4096, bytes.length))
      if (page * 4096 < bytes.length && chance()) bytes.set(piece, page * 4096)
    }
    return new UnreliableFile(life, bytes)
  }
}

export type UnreliableFiles = SyncFiles & { data: UnreliableFile; index: [UnreliableFile, UnreliableFile] }
export const files = (life = new Life()): UnreliableFiles => ({
  data: new UnreliableFile(life),
  index: [new UnreliableFile(life), new UnreliableFile(life)],
})
