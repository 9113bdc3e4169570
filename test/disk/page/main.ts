/** What a driven browser calls: a store in a worker of its own, or a whole machine with a disk on it. */

import * as Comlink from 'comlink'
import type { BootRequest, MachineApi, MachineEvent } from '../../../worker/api.ts'
import { parseDescription } from '../../../worker/description.ts'
import type { StoreApi } from './worker.ts'

const store = Comlink.wrap<StoreApi>(new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' }))

declare global {
  interface Window {
    ringlet: typeof api
    /** Of the driver's: told what the guest says, and what the machine does. */
    said?(text: string): void
    happened?(event: MachineEvent): void
  }
}

/** Boots a machine that types `script` into its console at the first prompt; `columns` is wide, so that nothing wraps. */
async function boot(document: unknown, script = '', columns = 200) {
  const worker = new Worker(new URL('../../../worker/main.ts', import.meta.url), { type: 'module' })
  const machine = Comlink.wrap<MachineApi>(worker)
  const events = new MessageChannel()
  events.port1.onmessage = ({ data }) => window.happened?.(data)
  await machine.listen(Comlink.transfer(events.port2, [events.port2]))
  const terminal = new MessageChannel()
  const type = (text: string) => terminal.port1.postMessage({ input: new TextEncoder().encode(text) })
  const decoder = new TextDecoder()
  let last = ''
  let typed = false
  terminal.port1.onmessage = ({ data }) => {
    const text = decoder.decode(data.bytes, { stream: true })
    window.said?.(text)
    terminal.port1.postMessage({ acknowledged: data.bytes.length })
    last = (last + text).slice(-200)
    if (typed || !/ringlet:[^\n]*# /.test(last)) return
    typed = true
    type(script)
  }
  await machine.openConsole(Comlink.transfer(terminal.port2, [terminal.port2]))
  const request: BootRequest = { machine: parseDescription(document, location.href), columns, rows: 50 }
  await machine.boot(request)
  return { machine, type }
}

let running: Awaited<ReturnType<typeof boot>> | undefined
const api = {
  store,
  boot: async (document: unknown, script?: string) => {
    running = await boot(document, script)
  },
  type: (text: string) => running!.type(text),
  answer: (id: number, choice: number) => running!.machine.answer(id, choice),
  powerOff: () => running!.machine.powerOff(),
}
window.ringlet = api
