import type { ConsoleInput, ConsoleOutput } from './api.ts'

/** As much goes to the terminal at once, in bytes. */
const BATCH = 64 << 10
/** So far may the guest be ahead of the terminal before it has to wait, and so near must it be to go on: bytes. */
const FAR = 1 << 20
const NEAR = 256 << 10
/** While no terminal is there, this much of what the guest said last is kept for it. */
const KEPT = 1 << 20

export interface BridgeEnds {
  input(bytes: Uint8Array): void
  resize(columns: number, rows: number): void
  /** The terminal is far behind, or has caught up. */
  behind(far: boolean): void
}

/** Between a guest's console and a terminal in another thread: batches out, acknowledgements back, nothing lost on the way. */
export class ConsoleBridge {
  private port: MessagePort | undefined
  private readonly batch = new Uint8Array(BATCH)
  private filled = 0
  private flushing = false
  private unacknowledged = 0
  private far = false
  private waiting: Uint8Array<ArrayBuffer>[] = []

  constructor(private readonly ends: BridgeEnds) {}

  /** Connects a terminal, in place of an earlier one; what was said meanwhile goes to it first. */
  connect(port: MessagePort) {
    this.port?.close()
    this.flush()
    this.port = port
    this.unacknowledged = 0
    for (const bytes of this.waiting.splice(0)) this.send(bytes)
    port.onmessage = ({ data }: MessageEvent<ConsoleInput>) => {
      if (port !== this.port) return
      if ('input' in data) this.ends.input(data.input)
      else if ('acknowledged' in data) this.account(-data.acknowledged)
      else this.ends.resize(data.columns, data.rows)
    }
    this.account(0)
  }

  /** Copies what it is given; one turn's output goes out together. */
  output(bytes: Uint8Array) {
    for (let from = 0; from < bytes.length; ) {
      const part = bytes.subarray(from, from + BATCH - this.filled)
      this.batch.set(part, this.filled)
      this.filled += part.length
      from += part.length
      if (this.filled === BATCH) this.flush()
    }
    if (this.flushing) return
    this.flushing = true
    queueMicrotask(() => {
      this.flushing = false
      this.flush()
    })
  }

  private flush() {
    if (this.filled === 0) return
    const bytes = this.batch.slice(0, this.filled)
    this.filled = 0
    if (this.port) this.send(bytes)
    else this.keep(bytes)
  }

  private send(bytes: Uint8Array<ArrayBuffer>) {
    this.account(bytes.length)
    const message: ConsoleOutput = { bytes }
    this.port?.postMessage(message, [bytes.buffer])
  }

  private keep(bytes: Uint8Array<ArrayBuffer>) {
    this.waiting.push(bytes)
    let total = this.waiting.reduce((sum, { length }) => sum + length, 0)
    while (total > KEPT) total -= this.waiting.shift()!.length
  }

  private account(bytes: number) {
    this.unacknowledged += bytes
    const far = this.unacknowledged > (this.far ? NEAR : FAR)
    if (far === this.far) return
    this.far = far
    this.ends.behind(far)
  }
}
