import * as Comlink from 'comlink'
import type {
  BootRequest,
  ConsoleInput,
  ConsoleOutput,
  MachineApi,
  MachineEvent,
  MachineState,
  NicStatus,
} from '../worker/api.ts'
import { ask } from './ask.ts'

export type Progress = Extract<MachineEvent, { type: 'progress' }>
export interface Problem {
  readonly title: string
  readonly detail: string
}

/** What a session needs of a terminal. */
export interface Screen {
  readonly columns: number
  readonly rows: number
  /** Settles once the bytes are on the screen. */
  write(bytes: Uint8Array<ArrayBuffer>): Promise<void>
  clear(): void
}

const ended: readonly MachineState[] = ['halted', 'powered-off', 'panicked', 'triple-fault', 'failed']
export const hasEnded = (state: MachineState) => ended.includes(state)
const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error))

/**
 * One machine as the page knows it, and the worker that runs it. Dispatches `change` whenever something that is shown
 * has changed; control calls never throw, what goes wrong becomes `problem`.
 */
export class Session extends EventTarget {
  state: MachineState = 'empty'
  detail: string | undefined
  problem: Problem | undefined
  /** Downloads and unpackings by name, in the order they began. */
  readonly progress = new Map<string, Progress>()
  timing: Readonly<Record<string, number>> = {}
  /** Whether this boot has written anything to the console. */
  spoke = false
  request: BootRequest | undefined

  #worker: Worker | undefined
  #api: Comlink.Remote<MachineApi> | undefined
  #console: MessagePort | undefined
  #screen: Screen | undefined
  /** Whether the worker still holds the machine, so that it can be reset without loading again. */
  #held = false

  /** Starts the worker ahead of its first use, so that its code is there when the machine is wanted. */
  warm() {
    if (this.#worker) return
    const worker = new Worker(new URL('../worker/main.ts', import.meta.url), { type: 'module', name: 'machine' })
    worker.addEventListener('error', event => {
      // A script that did not load gives an event without a message.
      this.#fail(
        'The machine’s program stopped',
        event instanceof ErrorEvent && event.message
          ? `${event.message}. This is a fault of Ringlet, not of the guest.`
          : 'Its script could not be loaded. See that the whole site was copied to this server, then reload the page.',
      )
      this.#release()
    })
    const api = Comlink.wrap<MachineApi>(worker)
    const events = new MessageChannel()
    events.port1.onmessage = ({ data }: MessageEvent<MachineEvent>) => this.#take(data)
    api.listen(Comlink.transfer(events.port2, [events.port2])).catch(error => this.#fault(error))
    this.#worker = worker
    this.#api = api
  }

  async boot(request: BootRequest, screen: Screen) {
    this.request = request
    this.#screen = screen
    this.#clear()
    this.#set('loading')
    // Disks are to outlive the browser's tidying up. Firefox asks the user, who may take all the time they like.
    if (request.machine.devices.some(device => device.type === 'block' && device.disk !== undefined))
      navigator.storage?.persist?.().catch(() => {})
    this.warm()
    const api = this.#api
    try {
      await this.#openConsole()
      this.#held = true
      await api?.boot({ ...request, columns: screen.columns, rows: screen.rows })
    } catch (error) {
      if (api === this.#api) this.#fail('The machine could not start', messageOf(error))
    }
  }

  pause() {
    this.#api?.pause().catch(error => this.#fault(error))
  }

  resume() {
    this.#api?.resume().catch(error => this.#fault(error))
  }

  /** From the beginning: with what is already there if the worker still has it, else by loading again. */
  async reset() {
    const screen = this.#screen
    if (!this.request || !screen) return
    if (!this.#held) {
      this.#release()
      screen.clear()
      return this.boot(this.request, screen)
    }
    this.#clear()
    this.#set('booting')
    try {
      // In this order the new console has nothing of what the old machine still says.
      const done = [this.#api?.reset(), this.#openConsole()]
      screen.clear()
      await Promise.all(done)
    } catch (error) {
      this.#fail('The machine could not be reset', messageOf(error))
    }
  }

  /** The problem has been read. */
  dismiss() {
    this.problem = undefined
    this.#changed()
  }

  /** Pulls the plug. The screen stays as it is. */
  async powerOff() {
    const worker = this.#worker
    this.#held = false
    try {
      await this.#api?.powerOff()
    } catch (error) {
      this.#fault(error)
    }
    if (worker === this.#worker) this.#release()
    if (!hasEnded(this.state)) this.#set('powered-off', 'switched off here')
  }

  /** Ends everything; the session is empty again. */
  async close() {
    const { state } = this
    this.request = undefined
    this.#screen = undefined
    if (this.#held && state !== 'failed') {
      // Backends may have something to finish, but a stuck worker must not keep the page.
      await Promise.race([this.powerOff(), new Promise(resolve => setTimeout(resolve, 2000))])
    }
    this.#release()
    this.#clear()
    this.#set('empty')
  }

  /** Makes a kept disk of this machine so many bytes. Fails with an Error fit to be shown. */
  async growDisk(name: string, size: number) {
    if (!this.#api) throw new Error('no machine runs here: look again')
    await this.#api.growDisk(name, size)
  }

  /** How the network cards fare; empty where there is no machine. */
  async networks(): Promise<readonly NicStatus[]> {
    return (await this.#api?.networks().catch(() => [])) ?? []
  }

  plugNetwork(card: number, plugged: boolean) {
    return this.#api?.plugNetwork(card, plugged).catch(error => this.#fault(error))
  }

  /** Gathers a card's frames until the returned function is called, which answers for a pcapng file. */
  async captureNetwork(card: number): Promise<() => Promise<Blob>> {
    const { port1, port2 } = new MessageChannel()
    const pieces: Uint8Array<ArrayBuffer>[] = []
    port1.onmessage = ({ data }: MessageEvent<Uint8Array<ArrayBuffer>>) => void pieces.push(data)
    await this.#api?.captureNetwork(card, Comlink.transfer(port2, [port2])).catch(error => this.#fault(error))
    return async () => {
      await this.#api?.captureNetwork(card).catch(() => {})
      // What was sent before the answer to that call may still be on its way.
      await new Promise(resolve => setTimeout(resolve, 50))
      port1.close()
      return new Blob(pieces, { type: 'application/x-pcapng' })
    }
  }

  type(input: Uint8Array<ArrayBuffer>) {
    this.#send({ input }, [input.buffer])
  }

  resize(columns: number, rows: number) {
    this.#send({ columns, rows })
  }

  #send(message: ConsoleInput, transfer: Transferable[] = []) {
    this.#console?.postMessage(message, transfer)
  }

  async #openConsole() {
    this.#console?.close()
    const { port1, port2 } = new MessageChannel()
    this.#console = port1
    const screen = this.#screen
    port1.onmessage = async ({ data }: MessageEvent<ConsoleOutput>) => {
      const { length } = data.bytes
      if (!this.spoke) {
        this.spoke = true
        this.#changed()
      }
      await screen?.write(data.bytes)
      port1.postMessage({ acknowledged: length } satisfies ConsoleInput)
    }
    await this.#api?.openConsole(Comlink.transfer(port2, [port2]))
    if (screen) this.resize(screen.columns, screen.rows)
  }

  #take(event: MachineEvent) {
    switch (event.type) {
      case 'state':
        // After a failure, or after the plug is pulled here, nothing the worker still says matters.
        if (!this.#held && this.state !== 'empty') return
        if (event.state === 'failed') this.#held = false
        this.#set(event.state, event.detail)
        return
      case 'progress':
        this.progress.set(event.what, event)
        break
      case 'problem':
        this.problem = event
        break
      case 'question': {
        const api = this.#api
        ask(event.title, event.detail, event.choices).then(choice => api?.answer(event.id, choice))
        return
      }
      case 'timing':
        this.timing = event.phases
        break
    }
    this.#changed()
  }

  #clear() {
    this.progress.clear()
    this.timing = {}
    this.problem = undefined
    this.detail = undefined
    this.spoke = false
  }

  #release() {
    this.#held = false
    this.#console?.close()
    this.#console = undefined
    this.#api?.[Comlink.releaseProxy]()
    this.#api = undefined
    this.#worker?.terminate()
    this.#worker = undefined
  }

  #set(state: MachineState, detail?: string) {
    this.state = state
    this.detail = detail
    this.#changed()
  }

  /** A problem the worker has already explained is not explained again. */
  #fail(title: string, detail: string) {
    this.#held = false
    this.problem ??= { title, detail }
    if (this.state !== 'empty') this.#set('failed')
    else this.#changed()
  }

  #fault(error: unknown) {
    this.problem = { title: 'Something went wrong in Ringlet', detail: messageOf(error) }
    this.#changed()
  }

  #changed() {
    this.dispatchEvent(new Event('change'))
  }
}
