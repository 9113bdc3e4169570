import type { Access, Handlers, Register, RegisterMap } from './layout.ts'

interface Entry extends Register<Access> {
  readonly name: string
  read?(): number
  write?(value: number): void
}

/** A register table with its handlers, answering accesses of any width with what a plain memory layout would give. */
export class RegisterFile<R extends RegisterMap> {
  /** By byte offset: the register that covers it. */
  private readonly at: (Entry | undefined)[] = []

  constructor(registers: R, handlers: Handlers<R>) {
    for (const [name, register] of Object.entries(registers)) {
      const entry: Entry = { ...register, name, ...handlers[name as keyof R] }
      for (let i = 0; i < register.size; i++) this.at[register.at + i] = entry
    }
  }

  /** Reading nothing, or what can only be written, gives zero. */
  read(offset: number, size: number): number {
    const entry = this.at[offset]
    if (entry?.at === offset && entry.size === size) return (entry.read?.() ?? 0) >>> 0
    let value = 0
    for (let i = 0; i < size; ) {
      const part = this.at[offset + i]
      const start = part ? offset + i - part.at : 0
      const length = part ? Math.min(part.size - start, size - i) : 1
      const bytes = Math.floor((part?.read?.() ?? 0) / 2 ** (8 * start)) % 2 ** (8 * length)
      value += bytes * 2 ** (8 * i)
      i += length
    }
    return value
  }

  /** A write to part of a register changes that part; to part of a write-only one, all else counts as zero. */
  write(offset: number, size: number, value: number) {
    const entry = this.at[offset]
    if (entry?.at === offset && entry.size === size) return void entry.write?.(value >>> 0)
    for (let i = 0; i < size; ) {
      const part = this.at[offset + i]
      const start = part ? offset + i - part.at : 0
      const length = part ? Math.min(part.size - start, size - i) : 1
      if (part?.write) {
        const shift = 2 ** (8 * start)
        const before = part.read?.() ?? 0
        const old = Math.floor(before / shift) % 2 ** (8 * length)
        const fresh = Math.floor((value >>> 0) / 2 ** (8 * i)) % 2 ** (8 * length)
        part.write((before + (fresh - old) * shift) >>> 0)
      }
      i += length
    }
  }
}
