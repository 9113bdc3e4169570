/** The machine of the page, built in Node: the same worker code around files instead of downloads. */

import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { WebSocket } from 'ws'
import { prepareBoot } from '../worker/boot.ts'
import { loadDocument } from '../worker/description/request.ts'
import { DescriptionError, type MachineDescription, parseDescription, type Transport } from '../worker/description.ts'
import { EXEC_PORTS, EXEC_WORD, GuestExec } from '../worker/exec.ts'
import { Machine, type MachineEvents } from '../worker/machine.ts'
import { type ChunkedImageOpened, openNodeDisk } from './disks.ts'

// What a browser has of itself.
Object.assign(globalThis, { WebSocket: globalThis.WebSocket ?? WebSocket })

export interface NodeMachineOptions {
  /** A machine description: a file or a URL. The default machine, if there is no kernel either. */
  readonly machine?: string
  readonly kernel?: string
  readonly initrd?: string
  /** To be started instead of a kernel, and its CD: files or URLs. */
  readonly bios?: string
  readonly cdrom?: string
  /** Further words for the kernel command line. */
  readonly cmdline?: string
  /** In MiB. */
  readonly memory?: number
  /** For every device. */
  readonly transport?: Transport
  /** Raw disk images, written in place. */
  readonly disks?: readonly string[]
  /** Adds a network card: `lan`, `lan:SEGMENT`, `relay` or the address of one. */
  readonly net?: string
  /** Adds the ports of the agent that runs commands. */
  readonly exec?: boolean
  readonly columns?: number
  readonly rows?: number
  readonly chunked?: ChunkedImageOpened
  readonly events: MachineEvents
}

export interface NodeMachine {
  readonly machine: Machine
  readonly exec: GuestExec
  start(): void
}

const DEFAULT_MACHINE = new URL('../public/machines/default.json', import.meta.url).href
const isUrl = (name: string) => /^[a-z]+:\/\//i.test(name)
const urlOf = (name: string) => (isUrl(name) ? name : pathToFileURL(name).href)
const openFile = (url: string) =>
  readFile(new URL(url)).then(
    bytes => new Blob([bytes]),
    () => undefined,
  )

let wasm: Promise<WebAssembly.Module> | undefined
const processor = () =>
  (wasm ??= readFile(createRequire(import.meta.url).resolve('v86/build/v86.wasm')).then(bytes =>
    WebAssembly.compile(bytes),
  ))

/** Everything but the first instruction. Fails with an error whose message can be shown. */
export async function buildMachine(options: NodeMachineOptions): Promise<NodeMachine> {
  const description = await descriptionOf(options)
  const exec = new GuestExec(bytes => {
    const port = machine.consoles.find(({ name }) => name === 'ringlet.exec')
    if (port) machine.input(port, bytes)
  })
  const { events, columns = 80, rows = 25 } = options
  const [machine, prepared] = await Promise.all([
    processor().then(module =>
      Machine.create({
        ...{ description, wasm: module, columns, rows },
        disk: disk => openNodeDisk(disk, options.disks ?? [], options.chunked),
        events: {
          ...events,
          output: (console, bytes) => exec.take(console.name, bytes) || events.output(console, bytes),
        },
      }),
    ),
    prepareBoot(description, { openFile }),
  ])
  return { machine, exec, start: () => machine.start(prepared.first(machine.cmdline)) }
}

/** The document, with what the options change in it. */
async function descriptionOf(options: NodeMachineOptions): Promise<MachineDescription> {
  const { kernel, initrd, bios, cdrom, cmdline, memory, transport, net, exec } = options
  const name = options.machine ?? (kernel === undefined && bios === undefined ? DEFAULT_MACHINE : undefined)
  const base = name === undefined ? pathToFileURL('./').href : urlOf(name)
  const document = (name === undefined ? {} : await loadDocument(base, { openFile })) as Record<string, unknown>
  const words = [document['cmdline'], cmdline, exec && EXEC_WORD].filter(Boolean)
  const more = net === undefined ? [] : [cardFor(net)]
  const devices = withMore(document['devices'] as Record<string, unknown>[] | undefined, options.disks ?? [], more)
  const described = parsed(
    {
      ...document,
      ...(kernel !== undefined && { kernel: urlOf(kernel), bios: undefined }),
      ...(bios !== undefined && { bios: { url: urlOf(bios) }, kernel: undefined, initrd: undefined }),
      ...(cdrom !== undefined && { cdrom: urlOf(cdrom) }),
      ...(initrd !== undefined && { initrd: urlOf(initrd) }),
      ...(memory !== undefined && { memory }),
      ...(devices && { devices }),
      ...(transport && { transport, devices: devices?.map(device => ({ ...device, transport: undefined })) }),
      cmdline: words.join(' '),
    },
    base,
    options.machine,
  )
  return exec ? withExecPorts(described) : described
}

/** `file` is what the document was called by whoever gave it. */
function parsed(document: unknown, base: string, file: string | undefined): MachineDescription {
  try {
    return parseDescription(document, base)
  } catch (error) {
    if (file === undefined || !(error instanceof DescriptionError)) throw error
    throw new DescriptionError(error.message.replace(/^/gm, `${file}: `))
  }
}

/** Disks come first, so that they are vda, vdb … in the order given. */
function withMore(devices: Record<string, unknown>[] | undefined, disks: readonly string[], more: readonly object[]) {
  if (disks.length + more.length === 0) return devices
  const blocks = disks.map(disk => ({ type: 'block', image: pathToFileURL(disk).href }))
  return [...blocks, ...(devices ?? [{ type: 'console' }, { type: 'entropy' }]), ...more]
}

function cardFor(net: string) {
  const [link, segment] = net.split(':')
  if (link === 'lan') return { type: 'net', link, ...(segment && { segment }) }
  return { type: 'net', link: 'relay', ...(net !== 'relay' && { url: net }) }
}

function withExecPorts(description: MachineDescription): MachineDescription {
  const first = description.devices.findIndex(({ type }) => type === 'console')
  if (first < 0) throw new Error('This machine has no console device, so no command can be run in it. Give it one.')
  const devices = description.devices.map((device, index) => {
    if (index !== first || device.type !== 'console') return device
    const ports = device.ports ?? [{ name: 'console', console: true }]
    return { ...device, ports: [...ports, ...EXEC_PORTS.map(name => ({ name }))] }
  })
  return { ...description, devices }
}
