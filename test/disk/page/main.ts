/** What a driven browser calls: a store in a worker of its own, or a whole machine with a disk on it. */

import * as Comlink from 'comlink'
import type { BootRequest, MachineApi, MachineEvent } from '../../../worker/api.ts'
import { parseDescription } from '../../../worker/description.ts'
import type { StoreApi } from './worker.ts'

const store = Comlink.wrap<StoreApi>(new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' }))

const text = new TextDecoder()
const state = { output: '', events: [] as MachineEvent[] }

async function boot(document: unknown, columns = 200) {
  const worker = new Worker(new URL('../../../worker/main.ts', import.meta.url), { type: 'module' })
  const machine = Comlink.wrap<MachineApi>(worker)
  const events = new MessageChannel()
  events.port1.onmessage = ({ data }) => {
    state.events.push(data)
    if (data.type === 'question') machine.answer(data.id, data.choices.length - 1)
  }
  await machine.listen(Comlink.transfer(events.port2, [events.port2]))
  const terminal = new MessageChannel()
  terminal.port1.onmessage = ({ data }) => {
    state.output += text.decode(data.bytes)
    terminal.port1.postMessage({ acknowledged: data.bytes.length })
  }
  await machine.openConsole(Comlink.transfer(terminal.port2, [terminal.port2]))
  const request: BootRequest = { machine: parseDescription(document, location.href), columns, rows: 50 }
  await machine.boot(request)
  return {
    type: (line: string) => terminal.port1.postMessage({ input: new TextEncoder().encode(line) }),
    machine,
  }
}

let running: Awaited<ReturnType<typeof boot>> | undefined
const api = {
  store,
  state,
  boot: async (document: unknown) => {
    running = await boot(document)
  },
  type: (line: string) => running!.type(line),
  powerOff: () => running!.machine.powerOff(),
}
declare global {
  interface Window {
    ringlet: typeof api
  }
}
window.ringlet = api
