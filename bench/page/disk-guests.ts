import * as Comlink from 'comlink'
import { V86 } from 'v86'
import wasmUrl from 'v86/build/v86.wasm?url'
import type { ConsoleOutput, MachineApi, MachineEvent } from '../../worker/api.ts'
import { parseDescription } from '../../worker/description.ts'
import { TUNING } from '../../worker/placement.ts'

/** Milliseconds until a guest that says nothing is given up. */
const PATIENCE = 180_000

/** The default guest's shell on some console, without a terminal: commands go in, what they print comes out. */
abstract class Shell {
  private text = ''
  private heard: (() => void) | undefined
  protected abstract type(text: string): void

  protected print(text: string) {
    this.text += text
    this.heard?.()
  }

  private async until(pattern: RegExp): Promise<string> {
    const patience = AbortSignal.timeout(PATIENCE)
    while (!pattern.test(this.text))
      await new Promise<void>((resolve, reject) => {
        this.heard = resolve
        patience.onabort = () => reject(new Error(`the guest said nothing more than: ${this.text.slice(-500)}`))
      })
    return this.text
  }

  protected async prompt() {
    await this.until(/ringlet:.*# /)
  }

  /** What the command prints. Fails with that if its status is not 0. */
  async run(command: string): Promise<string> {
    this.text = ''
    this.type(`${command}; echo "status $?"\n`)
    const text = await this.until(/^status \d+\r?\n/m)
    const said = text.slice(text.indexOf('\n') + 1)
    if (!/^status 0\r?\n/m.test(said)) throw new Error(`${command}: ${said}`)
    return said
  }
}

/** Our machine, as the page starts it. */
export class OurDisks extends Shell {
  private readonly worker = new Worker(new URL('../../worker/main.ts', import.meta.url), { type: 'module' })
  private readonly api = Comlink.wrap<MachineApi>(this.worker)
  private console: MessagePort | undefined

  /** At its prompt. The machine is a description. */
  static async boot(machine: unknown) {
    const guest = new OurDisks()
    const events = new MessageChannel()
    events.port1.onmessage = ({ data }: MessageEvent<MachineEvent>) => {
      if (data.type === 'problem' || data.type === 'question') console.error(data.title, data.detail)
    }
    await guest.api.listen(Comlink.transfer(events.port2, [events.port2]))
    const { port1, port2 } = new MessageChannel()
    const decoder = new TextDecoder()
    port1.onmessage = ({ data }: MessageEvent<ConsoleOutput>) => {
      guest.print(decoder.decode(data.bytes, { stream: true }))
      port1.postMessage({ acknowledged: data.bytes.length })
    }
    guest.console = port1
    await guest.api.openConsole(Comlink.transfer(port2, [port2]))
    await guest.api.boot({ machine: parseDescription(machine, location.href), columns: 200, rows: 25 })
    await guest.prompt()
    return guest
  }

  protected type(text: string) {
    this.console?.postMessage({ input: new TextEncoder().encode(text) })
  }

  async stop() {
    await this.api.powerOff()
    this.worker.terminate()
  }
}

export interface TheirDiskMachine {
  readonly memory: number
  readonly kernel: string
  readonly initrd: string
  readonly cmdline: string
  /** Of the disk in memory, in MiB. */
  readonly size: number
}

/** v86 in its own way, with its own IDE disk in memory: /dev/sda. */
export class TheirDisk extends Shell {
  private emulator: V86 | undefined

  static async boot({ memory, kernel, initrd, cmdline, size }: TheirDiskMachine) {
    const guest = new TheirDisk()
    const emulator = new V86({
      ...{ wasm_path: wasmUrl, memory_size: memory * 2 ** 20, autostart: true },
      ...{ disable_keyboard: true, disable_mouse: true, disable_speaker: true },
      ...{ bios: { url: 'firmware/bios.bin' }, vga_bios: { url: 'firmware/vgabios-stdvga.bin' } },
      ...{ bzimage: { url: kernel }, initrd: { url: initrd }, hda: { buffer: new ArrayBuffer(size * 2 ** 20) } },
      cmdline: `console=ttyS0 ${TUNING} ${cmdline}`,
    } as ConstructorParameters<typeof V86>[0])
    guest.emulator = emulator
    emulator.add_listener('serial0-output-byte', byte => guest.print(String.fromCharCode(byte)))
    await guest.prompt()
    return guest
  }

  protected type(text: string) {
    this.emulator?.serial0_send(text)
  }

  async stop() {
    await this.emulator?.destroy()
  }
}
