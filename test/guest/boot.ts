import { onTestFinished } from 'vitest'
import { buildMachine, type NodeMachineOptions } from '../../cli/node-machine.ts'
import type { MachineState } from '../../worker/api.ts'
import { type Machine, SERIAL } from '../../worker/machine.ts'
import { ConsoleScript } from '../console.ts'

export interface Guest {
  readonly machine: Machine
  /** The first console, with the serial port. */
  readonly console: ConsoleScript
  /** What the first port of each console device has put out, by the device's index. */
  readonly said: ReadonlyMap<number, string>
  readonly states: readonly MachineState[]
  /** Settles once the machine is in this state. */
  enters(state: MachineState): Promise<void>
  /** Runs a command through the agent; asked for with `exec: true`. */
  exec(command: string): Promise<{ status: number; stdout: string; stderr: string }>
  readonly problems: readonly string[]
}

const PROMPT = /ringlet:[^\n]*# /

/** A machine with a kernel in it, switched off when the test is over. */
export async function boot(options: Omit<NodeMachineOptions, 'events'> = {}): Promise<Guest> {
  const states: MachineState[] = []
  const problems: string[] = []
  const said = new Map<number, string>()
  let watchers: { state: MachineState; reached: () => void }[] = []
  const built = await buildMachine({
    ...options,
    events: {
      state(state) {
        states.push(state)
        for (const watcher of watchers) if (watcher.state === state) watcher.reached()
        watchers = watchers.filter(watcher => watcher.state !== state)
      },
      output(from, bytes) {
        if (from.port === 0)
          said.set(from.device, (said.get(from.device) ?? '') + Buffer.from(bytes).toString('latin1'))
        if (from === SERIAL || from === built.machine.consoles[0]) console.output(bytes)
      },
      problem: (title, detail) => problems.push(`${title}: ${detail}`),
    },
  })
  const { machine } = built
  const console = new ConsoleScript(bytes => void machine.input(machine.consoles[0]!, bytes))
  onTestFinished(() => machine.powerOff())
  built.start()
  return {
    ...{ machine, console, said, states, problems },
    enters: state => new Promise(reached => watchers.push({ state, reached })),
    async exec(command) {
      const parts = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] }
      const status = await built.exec.run(command, {
        stdout: bytes => parts.stdout.push(bytes.slice()),
        stderr: bytes => parts.stderr.push(bytes.slice()),
      })
      const text = (name: keyof typeof parts) => Buffer.concat(parts[name]).toString()
      return { status, stdout: text('stdout'), stderr: text('stderr') }
    },
  }
}

/** The default guest at its prompt, with its kernel quiet: a late message in the middle of an output helps nobody. */
export async function bootToPrompt(options: Omit<NodeMachineOptions, 'events'> = {}): Promise<Guest> {
  const guest = await boot(options)
  await guest.console.expect(PROMPT)
  await guest.console.run('dmesg -n 1')
  return guest
}
