import { Terminal } from '@xterm/xterm'
import { V86 } from 'v86'
import wasmUrl from 'v86/build/v86.wasm?url'
import { TUNING } from '../../worker/placement.ts'
import { appears, COLUMNS, output, PROMPT, ROWS } from './screen.ts'

/** Which of v86's own consoles. */
export type Wiring = 'serial' | 'virtio-console'

export interface TheirOptions {
  /** Instead of the default guest's, as the description would name it. */
  readonly initrd?: string
  /** A virtio-net card on a relay at this address. */
  readonly relay?: string
}

/** v86's own way: SeaBIOS, bzImage and initrd as they are, and v86's own console adapter on the same xterm. */
export class TheirMachine {
  private terminal: Terminal | undefined
  private emulator: V86 | undefined

  constructor(
    private readonly wiring: Wiring,
    private readonly options: TheirOptions = {},
  ) {}

  /** Milliseconds until the prompt is on the screen, from before anything is loaded. */
  async boot(): Promise<number> {
    const started = performance.now()
    const { machine, words } = await this.machine()
    const xterm = {
      type: 'xtermjs' as const,
      container: document.getElementById('terminal')!,
      xterm_lib: this.terminalClass(),
    }
    const serial = this.wiring === 'serial'
    this.emulator = new V86({
      ...{ wasm_path: wasmUrl, memory_size: machine.memory * 2 ** 20, autostart: true },
      ...{ disable_keyboard: true, disable_mouse: true, disable_speaker: true },
      ...{ bios: { url: 'firmware/bios.bin' }, vga_bios: { url: 'firmware/vgabios-stdvga.bin' } },
      // The question mark keeps v86 from taking the initrd for one of its own disk images by its name.
      ...{ bzimage: { url: machine.kernel }, initrd: { url: `${machine.initrd}?` } },
      ...(this.options.relay && { net_device: { type: 'virtio', relay_url: this.options.relay } }),
      cmdline: `console=${serial ? 'ttyS0' : 'hvc0'} ${words}`,
      ...(serial ? { serial_console: xterm } : { virtio_console: xterm }),
    } as ConstructorParameters<typeof V86>[0])
    while (!this.terminal) await new Promise(resolve => setTimeout(resolve, 1))
    await appears(this.terminal, PROMPT)
    return performance.now() - started
  }

  /** The same machine as ours, and the words both kernels are told. */
  private async machine() {
    const url = new URL('machines/default.json', location.href)
    const description = await (await fetch(url)).json()
    const { memory, kernel, initrd, cmdline = '' } = { ...description, ...this.options }
    const absolute = (name: string) => new URL(name, url).href
    return {
      machine: { memory, kernel: absolute(kernel), initrd: absolute(initrd) },
      words: `${TUNING} ${cmdline}`,
    }
  }

  /** v86 makes the terminal itself; this is how we get to see it. */
  private terminalClass() {
    const seen = (terminal: Terminal) => {
      this.terminal = terminal
    }
    return class extends Terminal {
      constructor() {
        super({ cols: COLUMNS, rows: ROWS, scrollback: 1000 })
        seen(this)
      }
    }
  }

  type(text: string) {
    this.terminal?.input(text)
  }

  /** Types a command; milliseconds until what it says last is on the screen. */
  async time(command: string, last: string): Promise<number> {
    const started = performance.now()
    const shown = appears(this.terminal!, new RegExp(`^${last}$`))
    this.type(`${command}\r`)
    await shown
    return performance.now() - started
  }

  /** What a command writes. */
  run(command: string): Promise<string> {
    return output(this.terminal!, line => this.type(`${line}\r`), command)
  }

  async stop() {
    await this.emulator?.destroy()
  }
}
