import { fileURLToPath } from 'node:url'
import { buildMachine } from './node-machine.ts'

/** Regular expressions for the end of what the console has said, and a line to type between them. */
export interface RecordOptions {
  readonly until: string
  readonly type?: string
  readonly then: string
}

/** Seconds a boot may take. */
const PATIENCE = 600

/** Boots a machine and answers which chunks of its local chunked images it read, in their order, by manifest. */
export async function recordBoot(machine: string, { until, type, then }: RecordOptions) {
  const images = new Map<string, readonly number[]>()
  let said = ''
  let listener = () => {}
  const ending = (pattern: string) =>
    new Promise<void>(resolve => {
      listener = () => new RegExp(pattern).test(said) && resolve()
    })
  const failed = new Promise<never>((_, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`it did not come so far in ${PATIENCE} s:\n${said}`)),
      PATIENCE * 1000,
    )
    timer.unref()
  })
  const built = await buildMachine({
    machine,
    chunked: (url, touched) => url.startsWith('file:') && images.set(fileURLToPath(url), touched),
    events: {
      state: () => {},
      problem: (title, detail) => process.stderr.write(`${title}: ${detail}\n`),
      output(console, bytes) {
        if (console.name !== 'console') return
        said = (said + Buffer.from(bytes).toString('latin1')).slice(-4096)
        listener()
      },
    },
  })
  const booted = ending(until)
  built.start()
  await Promise.race([booted, failed])
  if (type !== undefined) {
    said = ''
    const done = ending(then)
    built.machine.input(built.machine.consoles[0]!, new TextEncoder().encode(`${type}\r`))
    await Promise.race([done, failed])
  }
  const recorded = [...images].map(([manifest, touched]) => [manifest, [...touched]] as const)
  await built.machine.powerOff()
  return recorded
}
