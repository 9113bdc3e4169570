/** Running commands in a guest: its agent (guest/rootfs/sbin/ringlet-exec) listens on four named console ports. */

/** What must be on the kernel command line for the agent to be there. */
export const EXEC_WORD = 'ringlet.exec'
export const EXEC_PORTS = ['ringlet.exec', 'ringlet.stdout', 'ringlet.stderr', 'ringlet.status'] as const
type ExecPort = (typeof EXEC_PORTS)[number]

/** Where a command's output goes, byte for byte; what is handed over is valid until the call returns. */
export interface ExecOutput {
  stdout(bytes: Uint8Array): void
  stderr(bytes: Uint8Array): void
}

interface Run {
  readonly command: string
  readonly output: ExecOutput
  settle(status: number): void
}

/** Runs one command after the other. */
export class GuestExec {
  private readonly runs: Run[] = []
  private status = ''

  /** `send` types into the port `ringlet.exec`. */
  constructor(private readonly send: (bytes: Uint8Array) => void) {}

  /** Settles with the command's exit status. */
  run(command: string, output: ExecOutput): Promise<number> {
    return new Promise(settle => {
      this.runs.push({ command, output, settle })
      if (this.runs.length === 1) this.begin()
    })
  }

  /** What a port said. False if it is none of the agent's. */
  take(name: string, bytes: Uint8Array): boolean {
    const current = this.runs[0]
    switch (name as ExecPort) {
      case 'ringlet.stdout':
        current?.output.stdout(bytes)
        return true
      case 'ringlet.stderr':
        current?.output.stderr(bytes)
        return true
      case 'ringlet.status':
        this.finish(String.fromCharCode(...bytes))
        return true
      case 'ringlet.exec':
        return true
      default:
        return false
    }
  }

  private begin() {
    const utf8 = new TextEncoder().encode(this.runs[0]!.command)
    const line = `${btoa(Array.from(utf8, byte => String.fromCharCode(byte)).join(''))}\n`
    this.send(new TextEncoder().encode(line))
  }

  private finish(text: string) {
    this.status += text
    if (!this.status.includes('\n')) return
    const status = Number.parseInt(this.status, 10)
    this.status = ''
    this.runs.shift()?.settle(status)
    if (this.runs.length > 0) this.begin()
  }
}
