/** The worker's entry: one machine, and the doors through which the page reaches it. */

import * as Comlink from 'comlink'
import wasmUrl from 'v86/build/v86.wasm?url'
import type { BlockBackend } from '../src/devices/block-backend.ts'
import type { BootRequest, MachineApi, MachineEvent } from './api.ts'
import { openDisk } from './backends/open-disk.ts'
import { prepareBoot } from './boot.ts'
import { ConsoleBridge } from './console-bridge.ts'
import { Machine, SERIAL } from './machine.ts'
import { warmUp } from './v86.ts'

// Begins with the worker, so that it is there when the kernel is.
void warmUp()
const wasm = WebAssembly.compileStreaming(fetch(wasmUrl)).catch(reason => {
  throw new Error(
    `The processor (${wasmUrl}) could not be loaded: ${reason.message}. See that the whole site was copied.`,
  )
})
wasm.catch(() => {}) // told to whoever boots

let machine: Machine | undefined
let events: MessagePort | undefined
let booting: AbortController | undefined
/** The kept disks of this machine, by name. */
const kept = new Map<string, BlockBackend>()
/** By name; the terminal without a name has the first console, and the serial port with it. */
const bridges = new Map<string | undefined, ConsoleBridge>()
/** Of each terminal the last, which may have come before there was a machine. */
const resizes = new Map<string | undefined, () => void>()
const inputLost = new Set<string>()

const tell = (event: MachineEvent) => events?.postMessage(event)

/** Questions the page has not answered yet, by number. */
const questions = new Map<number, (choice: number) => void>()
let asked = 0
const ask = (title: string, detail: string, choices: readonly string[]) =>
  new Promise<number>(resolve => {
    questions.set(++asked, resolve)
    tell({ type: 'question', id: asked, title, detail, choices })
  })

function bridge(name: string | undefined): ConsoleBridge {
  const there = bridges.get(name)
  if (there) return there
  const target = () => machine?.consoles.find(console => name === undefined || console.name === name)
  const made = new ConsoleBridge({
    input(bytes) {
      const console = target()
      const dropped = console && machine ? machine.input(console, bytes) : bytes.length
      if (dropped > 0 && console && !inputLost.has(console.name)) {
        inputLost.add(console.name)
        tell({
          type: 'problem',
          title: 'Some input was lost',
          detail: `The guest has not taken the last megabyte typed into ${console.name}, so ${dropped} bytes had to be dropped.`,
        })
      }
    },
    resize(columns, rows) {
      resizes.set(name, () => {
        const console = target()
        if (console) machine?.resize(console, columns, rows)
      })
      resizes.get(name)?.()
    },
    behind: far => (far ? machine?.hold(`terminal ${name}`) : machine?.release(`terminal ${name}`)),
  })
  bridges.set(name, made)
  return made
}

async function boot({
  machine: description,
  origin = location.origin,
  changes,
  files = {},
  columns,
  rows,
}: BootRequest) {
  await api.powerOff()
  const { signal } = (booting = new AbortController())
  const started = performance.now()
  tell({ type: 'state', state: 'loading' })
  const openFile = async (url: string) => files[url.replace(/^file:/, '')]
  const progress = (step: Omit<Extract<MachineEvent, { type: 'progress' }>, 'type'>) =>
    tell({ type: 'progress', ...step })
  const phases: Record<string, number> = {}
  const building = wasm.then(async module => {
    const begun = performance.now()
    const built = await Machine.create({
      description,
      wasm: module,
      columns,
      rows,
      async disk(disk) {
        const opened = await openDisk(disk, {
          origin,
          changes,
          holder: description.name ?? 'a machine',
          file: openFile,
          ask,
          async whenFull(reason) {
            machine?.hold('storage full')
            const choice = await ask('No room left', `${reason}. The machine waits.`, ['Try again', 'Give up'])
            machine?.release('storage full')
            return choice === 0 ? 'retry' : 'give up'
          },
        })
        if (disk.disk !== undefined) kept.set(disk.disk, opened)
        return opened
      },
      events: {
        state(state, detail) {
          tell({ type: 'state', state, ...(detail !== undefined && { detail }) })
          if (state !== 'running' || 'kernel' in phases) return
          phases['kernel'] = performance.now() - ready
          phases['first output'] = performance.now() - started
          tell({ type: 'timing', phases })
        },
        output(console, bytes) {
          const first = console === SERIAL || console === built.consoles[0]
          bridges.get(console.name)?.output(bytes)
          if (first) bridge(undefined).output(bytes)
        },
        problem: (title, detail) => tell({ type: 'problem', title, detail }),
      },
    })
    phases['machine'] = performance.now() - begun
    return built
  })
  // Switched off, or the kernel failed to load, while the machine was being built: it is not kept.
  building.then(async built => void (signal.aborted && (await built.powerOff()))).catch(() => {})
  const [built, prepared] = await Promise.all([
    building,
    prepareBoot(description, { openFile, signal, progress }),
  ]).catch(reason => {
    booting?.abort(reason)
    throw reason
  })
  signal.throwIfAborted()
  Object.assign(phases, prepared.phases)
  machine = built
  const planned = performance.now()
  machine.start(prepared.first(built.cmdline))
  for (const resize of resizes.values()) resize()
  const ready = performance.now()
  phases['into memory'] = ready - planned
}

const api: MachineApi = {
  listen(port) {
    events?.close()
    events = port
  },
  answer(id, choice) {
    questions.get(id)?.(choice)
    questions.delete(id)
  },
  openConsole(port, name) {
    bridge(name).connect(port)
  },
  boot,
  pause: () => machine?.pause(),
  resume: () => machine?.resume(),
  async reset() {
    if (!machine) throw new Error('There is no machine to reset. Boot one first.')
    inputLost.clear()
    await machine.reset()
  },
  async growDisk(name, size) {
    const disk = kept.get(name)
    if (!disk) throw new Error(`another tab has the disk "${name}": make it larger there, or switch that machine off`)
    if (!disk.grow) throw new Error(`this machine has the disk "${name}" read-only: make it larger where it is written`)
    await disk.grow(size)
  },
  networks: () => machine?.nics.flatMap(({ status }) => status ?? []) ?? [],
  plugNetwork(card, plugged) {
    machine?.nics[card]?.setPlugged(plugged)
  },
  captureNetwork(card, port) {
    const nic = machine?.nics[card]
    nic?.stopCapture()
    if (port) nic?.startCapture(bytes => port.postMessage(bytes, [bytes.buffer]))
  },
  async powerOff() {
    booting?.abort(new Error('The machine was switched off while it was loading.'))
    const held = machine
    machine = undefined
    kept.clear()
    inputLost.clear()
    await held?.powerOff()
  },
}

Comlink.expose(api)
