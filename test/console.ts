import { StringDecoder } from 'node:string_decoder'

interface Waiter {
  readonly pattern: RegExp
  found(match: RegExpExecArray): void
}

/** A guest's console at the other end of a typist who reads before going on. */
export class ConsoleScript {
  /** Everything said so far. */
  transcript = ''
  private seen = 0
  private waiter: Waiter | undefined
  private readonly decoder = new StringDecoder('utf8')

  constructor(private readonly type: (bytes: Uint8Array) => void) {}

  /** What the guest said. */
  output(bytes: Uint8Array) {
    this.transcript += this.decoder.write(Buffer.from(bytes))
    this.look()
  }

  /** Waits for something said after whatever was waited for last. Fails with what was said instead. */
  async expect(pattern: RegExp, seconds = 300): Promise<RegExpExecArray> {
    if (this.waiter) throw new Error('the console is already waited for')
    let timer: NodeJS.Timeout | undefined
    try {
      return await new Promise((resolve, reject) => {
        this.waiter = { pattern, found: resolve }
        const late = () => reject(new Error(`No ${pattern} within ${seconds} s. The console ends:\n${this.end}`))
        timer = setTimeout(late, seconds * 1000)
        this.look()
      })
    } finally {
      clearTimeout(timer)
      this.waiter = undefined
    }
  }

  send(text: string) {
    this.type(new TextEncoder().encode(text))
  }

  /** Types a command at a shell and answers what it printed, however its echo is wrapped. */
  async run(command: string, seconds?: number): Promise<string> {
    const tag = Math.random().toString(36).slice(2)
    // Both marks are told apart from their echo by the quotes.
    this.send(`echo begin-""${tag}; ${command}; echo end-""${tag} $?\n`)
    const pattern = new RegExp(`begin-${tag}\\r\\n([^]*?)end-${tag} (\\d+)\\r\\n`)
    const [, output, status] = await this.expect(pattern, seconds)
    const text = output!.replaceAll('\r\n', '\n')
    if (status !== '0') throw new Error(`${command} ended with status ${status}:\n${text}`)
    return text
  }

  private get end() {
    return this.transcript.slice(-3000)
  }

  private look() {
    if (!this.waiter) return
    const match = this.waiter.pattern.exec(this.transcript.slice(this.seen))
    if (!match) return
    this.seen += match.index + match[0].length
    this.waiter.found(match)
  }
}
