/** Two of our machines in one worker, with their cards on one switch. */

import * as Comlink from 'comlink'
import wasmUrl from 'v86/build/v86.wasm?url'
import { parseDescription } from '../../worker/description.ts'
import { EXEC_PORTS, EXEC_WORD, GuestExec } from '../../worker/exec.ts'
import { prepareLinux } from '../../worker/linux.ts'
import { Machine } from '../../worker/machine.ts'

const guests: GuestExec[] = []

async function start(initrd: string, base: string) {
  const wasm = await WebAssembly.compileStreaming(fetch(wasmUrl))
  const url = new URL('machines/default.json', base).href
  const described = await (await fetch(url)).json()
  const ports = [{ name: 'console', console: true }, ...EXEC_PORTS.map(name => ({ name }))]
  const description = parseDescription(
    {
      ...{ ...described, initrd, cmdline: `${described.cmdline ?? ''} ${EXEC_WORD}` },
      devices: [{ type: 'console', ports }, { type: 'entropy' }, { type: 'net', link: 'lan' }],
    },
    url,
  )
  const linux = await prepareLinux({
    ...{ kernel: description.kernel!, initrd: description.initrd, memory: description.memory * 2 ** 20 },
    openFile: async () => undefined,
  })
  for (const name of ['left', 'right']) {
    const exec = new GuestExec(bytes => {
      const port = machine.consoles.find(({ name }) => name === 'ringlet.exec')
      if (port) machine.input(port, bytes)
    })
    const machine = await Machine.create({
      ...{ description, wasm, columns: 80, rows: 25 },
      disk: async () => Promise.reject(new Error('no disks here')),
      events: {
        state: () => {},
        output: (console, bytes) => void exec.take(console.name, bytes),
        problem: (title, detail) => console.error(name, title, detail),
      },
    })
    machine.start(() => linux.plan(machine.cmdline))
    guests.push(exec)
  }
}

async function run(command: string, guest = 0) {
  let text = ''
  const decoder = new TextDecoder()
  const take = (bytes: Uint8Array) => {
    text += decoder.decode(bytes, { stream: true })
  }
  await guests[guest]!.run(command, { stdout: take, stderr: take })
  return text
}

const pair = { start, run }
export type Pair = typeof pair
Comlink.expose(pair)
