import * as Comlink from 'comlink'
import type { ConsoleOutput, MachineApi, MachineEvent } from '../../worker/api.ts'
import { type DescriptionInput, parseDescription } from '../../worker/description.ts'
import { appears, COLUMNS, openTerminal, output, PROMPT, ROWS } from './screen.ts'

/** Our machine as the page uses it, with an xterm. */
export class OurMachine {
  /** What the boot took, in milliseconds: phases of the worker, and `worker` before and `prompt` after them. */
  phases: Readonly<Record<string, number>> = {}
  private readonly terminal = openTerminal()
  private readonly worker = new Worker(new URL('../../worker/main.ts', import.meta.url), { type: 'module' })
  private readonly api = Comlink.wrap<MachineApi>(this.worker)
  private console: MessagePort | undefined

  /** Milliseconds until the prompt is on the screen, from before anything is loaded; `changes` are to the description. */
  async boot(changes: Partial<DescriptionInput> = {}): Promise<number> {
    const started = performance.now()
    const events = new MessageChannel()
    const timing = new Promise<Readonly<Record<string, number>>>(resolve => {
      events.port1.onmessage = ({ data }: MessageEvent<MachineEvent>) => {
        if (data.type === 'timing') resolve(data.phases)
      }
    })
    await this.api.listen(Comlink.transfer(events.port2, [events.port2]))
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = ({ data }: MessageEvent<ConsoleOutput>) =>
      this.terminal.write(data.bytes, () => port1.postMessage({ acknowledged: data.bytes.length }))
    this.console = port1
    await this.api.openConsole(Comlink.transfer(port2, [port2]))
    const url = new URL('machines/default.json', location.href).href
    const machine = parseDescription({ ...(await (await fetch(url)).json()), ...changes }, url)
    await this.api.networks() // answered once its code is there
    const worker = performance.now() - started
    await this.api.boot({ machine, columns: COLUMNS, rows: ROWS })
    await appears(this.terminal, PROMPT)
    const total = performance.now() - started
    const phases = await timing
    this.phases = { ...phases, worker, prompt: total - worker - phases['first output']! }
    return total
  }

  /** From the beginning, to the prompt. */
  async reset() {
    this.terminal.reset()
    await this.api.reset()
    await appears(this.terminal, PROMPT)
  }

  type(text: string) {
    this.console?.postMessage({ input: new TextEncoder().encode(text) })
  }

  /** Types a command; milliseconds until what it says last is on the screen. */
  async time(command: string, last: string): Promise<number> {
    const started = performance.now()
    const shown = appears(this.terminal, new RegExp(`^${last}$`))
    this.type(`${command}\n`)
    await shown
    return performance.now() - started
  }

  /** What a command writes. */
  run(command: string): Promise<string> {
    return output(this.terminal, line => this.type(`${line}\n`), command)
  }

  async stop() {
    await this.api.powerOff()
    this.worker.terminate()
    this.terminal.dispose()
  }
}
