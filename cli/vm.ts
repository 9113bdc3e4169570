/** `npm run -s vm`: the page's machine in a terminal. */

import { parseArgs } from 'node:util'
import type { ConsoleInfo, MachineState } from '../worker/api.ts'
import { type Transport, transports } from '../worker/description.ts'
import { type Machine, SERIAL } from '../worker/machine.ts'
import { buildMachine, type NodeMachineOptions } from './node-machine.ts'

const USAGE = 2
const TIMEOUT = 124
/** Seconds a command may take, the boot included. */
const PATIENCE = 300
const CTRL_A = 1

const ends: { readonly [S in MachineState]?: string } = {
  halted: 'The guest halted.',
  'powered-off': 'The guest switched itself off.',
  panicked: 'The guest’s kernel panicked; its console says why.',
  'triple-fault': 'The guest crashed with a triple fault.',
  failed: 'The machine failed',
}

/** Ends the program, once everything written is out. */
class Exit extends Error {
  constructor(
    readonly status: number,
    message = '',
  ) {
    super(message)
  }
}

const flags: Readonly<Record<string, readonly [argument: string, what: string]>> = {
  machine: ['FILE|URL', 'a machine description; without it and without a kernel, the default machine'],
  kernel: ['FILE', 'a bzImage or vmlinux'],
  initrd: ['FILE', 'its initial RAM disk'],
  bios: ['FILE', 'a BIOS to start instead of a kernel (npm run bios), from the CD or the first disk'],
  cdrom: ['FILE|URL', 'an ISO image for the CD drive'],
  cmdline: ['WORDS', 'more words for the kernel command line'],
  memory: ['MIB', 'RAM'],
  transport: ['NAME', `for every device: ${transports.join(', ')}`],
  disk: ['FILE', 'a raw disk image, written in place; may be given several times'],
  net: ['LINK', 'a network card on `lan`, `lan:SEGMENT`, `relay`, or the relay at a ws:// address'],
  exec: ['COMMAND', 'run a command in the default guest, print what it prints, exit with its status'],
  timeout: ['SECONDS', `then give up, with exit status ${TIMEOUT}; ${PATIENCE} with --exec`],
}
const help = `npm run -s vm -- [options]

${Object.entries(flags)
  .map(([name, [argument, what]]) => `  ${`--${name} ${argument}`.padEnd(22)} ${what}`)
  .join('\n')}

Without options it boots the default machine with its console on this terminal; without a terminal, standard input is
typed as it is. On a terminal, Ctrl-A x leaves and Ctrl-A Ctrl-A is one Ctrl-A.

Exit status: that of the command with --exec; 0 when the guest switched itself off or was left; 1 when it crashed;
2 when the machine could not be started, or ended before the command did; 124 after a timeout.

  npm run -s vm -- --transport pci --exec 'lspci; uname -a'
  npm run -s vm -- --kernel vmlinuz --initrd initrd.img --cmdline 'root=/dev/vda ro' --disk disk.img --memory 256
  echo 'cat /proc/cpuinfo; poweroff' | npm run -s vm
`

interface Options extends Omit<NodeMachineOptions, 'exec' | 'events'> {
  readonly exec?: string
  readonly timeout?: number
}

function parse(): Options {
  const known = Object.fromEntries(
    Object.keys(flags).map(name => [name, { type: 'string' as const, multiple: name === 'disk' }]),
  )
  const { values } = parseArgs({ options: { ...known, help: { type: 'boolean' } } })
  const { disk: disks, ...given } = values as Record<string, string | boolean | undefined> & { disk?: string[] }
  if (given['help']) throw new Exit(0, help)
  const number = (name: string) => {
    const value = given[name]
    if (value === undefined) return undefined
    if (Number(value) > 0) return Number(value)
    throw new Error(`--${name} takes a positive number, not "${value}".`)
  }
  const { transport } = given
  if (transport !== undefined && !transports.includes(transport as Transport))
    throw new Error(`There is no transport "${transport}". There are: ${transports.join(', ')}.`)
  const entries = { ...given, disks, memory: number('memory'), timeout: number('timeout') }
  return Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined))
}

/** Runs until the machine ends; `started` gets it at work. */
async function run(
  { exec: _, timeout: given, ...machineOptions }: Options,
  more: Pick<NodeMachineOptions, 'exec' | 'columns' | 'rows'>,
  output: NodeMachineOptions['events']['output'],
  started: (built: Awaited<ReturnType<typeof buildMachine>>) => Promise<void> | void,
) {
  const timeout = given ?? (more.exec ? PATIENCE : undefined)
  let fail!: (exit: Exit) => void
  const ended = new Promise<never>((_, reject) => (fail = reject))
  ended.catch(() => {})
  const timer = timeout && setTimeout(() => fail(new Exit(TIMEOUT, late(timeout, more.exec))), timeout * 1000)
  try {
    const building = buildMachine({
      ...machineOptions,
      ...more,
      events: {
        state(state, detail) {
          const what = ends[state]
          if (!what) return
          const peaceful = state === 'halted' || state === 'powered-off'
          fail(new Exit(more.exec ? USAGE : Number(!peaceful), detail ? `${what} (${detail})` : what))
        },
        output,
        problem: (title, detail) => process.stderr.write(`${title}: ${detail}\n`),
      },
    })
    const built = await Promise.race([building, ended])
    built.start()
    await Promise.race([started(built), ended])
  } finally {
    clearTimeout(timer)
  }
}

const late = (timeout: number, exec = false) =>
  `Nothing more was waited for after ${timeout} s.` +
  (exec
    ? ' Either the command takes longer (--timeout), or the guest has no agent to run it: that is in the default guest, and' +
      ' needs the kernel’s virtio console, the word ringlet.exec on the command line and the ringlet.* ports.'
    : '')

/** `--exec` */
async function execute(command: string, options: Options) {
  await run(
    options,
    { exec: true },
    () => {},
    async ({ machine, exec }) => {
      const to = (stream: NodeJS.WriteStream & { fd: number }) => paced(machine, stream)
      const status = await exec.run(command, { stdout: to(process.stdout), stderr: to(process.stderr) })
      throw new Exit(status)
    },
  )
}

/** The console on this terminal. */
async function interact(options: Options) {
  const { stdin, stdout } = process
  const size = () => ({ columns: stdout.columns ?? 80, rows: stdout.rows ?? 25 })
  let write: ((bytes: Uint8Array) => void) | undefined
  let first: ConsoleInfo | undefined
  try {
    await run(
      options,
      size(),
      (console, bytes) => {
        if (console === SERIAL || console === first) write?.(bytes)
      },
      ({ machine }) =>
        new Promise((_, reject) => {
          write = paced(machine, stdout)
          const console = (first = machine.consoles[0]!)
          stdout.on('resize', () => machine.resize(console, size().columns, size().rows))
          if (stdin.isTTY) stdin.setRawMode(true)
          const keys = escaping(() => {
            stdout.write('\r\n')
            reject(new Exit(0))
          })
          stdin.on('data', bytes => type(machine, stdin.isTTY ? keys(bytes) : bytes))
        }),
    )
  } finally {
    if (stdin.isTTY) stdin.setRawMode(false)
  }
}

/** Types into the console; what the guest has no room for yet waits, and standard input with it. */
function type(machine: Machine, bytes: Uint8Array) {
  const dropped = machine.input(machine.consoles[0]!, bytes)
  if (dropped === 0) return void process.stdin.resume()
  process.stdin.pause()
  setTimeout(() => type(machine, bytes.subarray(bytes.length - dropped)), 20)
}

/** Ctrl-A x leaves, Ctrl-A Ctrl-A is one Ctrl-A, and any other key after Ctrl-A is itself. */
function escaping(leave: () => void) {
  let escaped = false
  return (bytes: Uint8Array): Uint8Array => {
    const typed: number[] = []
    for (const byte of bytes) {
      if (escaped) {
        escaped = false
        if (byte === 'x'.charCodeAt(0)) leave()
        else typed.push(byte)
      } else if (byte === CTRL_A) escaped = true
      else typed.push(byte)
    }
    return Uint8Array.from(typed)
  }
}

/** Writes to a stream; the guest stands still while the stream is full. */
function paced(machine: Machine, stream: NodeJS.WriteStream & { fd: number }) {
  const reason = `stream ${stream.fd}`
  return (bytes: Uint8Array) => {
    if (stream.write(bytes.slice())) return
    machine.hold(reason)
    stream.once('drain', () => machine.release(reason))
  }
}

const drained = (stream: NodeJS.WriteStream) => new Promise<void>(resolve => stream.write('', () => resolve()))

try {
  const options = parse()
  await (options.exec === undefined ? interact(options) : execute(options.exec, options))
} catch (error) {
  const { status, message } = error instanceof Exit ? error : { status: USAGE, message: (error as Error).message }
  const stream = status === 0 ? process.stdout : process.stderr
  if (message) stream.write(`${message.trimEnd()}\n`)
  await Promise.all([drained(process.stdout), drained(process.stderr)])
  process.exit(status)
}
