/** `npm run -s mutation [-- NAME]`: breaks `src/virtio` in named ways, and counts the breaks that the suite notices. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import cac from 'cac'
import { all, type Mutation } from './mutations.ts'

const cli = cac('npm run -s mutation --')
cli.usage('[NAME]').help()
const { args, options } = cli.parse()
if (options['help']) process.exit()

const root = new URL('../..', import.meta.url).pathname
const folder = join(root, '.cache/mutation')
/** Runs at a time. */
const AT_ONCE = 2
/** What one run may take of the CPU, in seconds: some mutations never end. */
const EFFORT = 60

/** A copy of the sources that may be broken. */
function copyTree(name: string): string {
  const copy = join(folder, name)
  rmSync(copy, { recursive: true, force: true })
  mkdirSync(copy, { recursive: true })
  for (const part of ['src', 'test/fuzz', 'test/mutation', 'package.json', 'tsconfig.base.json'])
    cpSync(join(root, part), join(copy, part), { recursive: true })
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
  return copy
}

/** Runs the suite on a copy: what noticed something, or undefined. */
async function suite(copy: string): Promise<string | undefined> {
  const program = [process.execPath, '--import', 'tsx', join(copy, 'test/mutation/suite.ts')]
  const child = spawn('sh', ['-c', `ulimit -t ${EFFORT} && exec "$@"`, 'sh', ...program], { cwd: copy })
  const said = { stdout: '', stderr: '' }
  child.stdout.on('data', (bytes: Buffer) => (said.stdout += bytes))
  child.stderr.on('data', (bytes: Buffer) => (said.stderr += bytes))
  const [status, signal] = (await once(child, 'close')) as [number | null, string | null]
  if (status === 0) return undefined
  const error = said.stderr.split('\n').find(line => line.includes('Error'))
  return said.stdout.trim() || error || (signal ? 'it never ends' : `status ${status}`)
}

const wanted = all.filter(({ name }) => args.length === 0 || name.includes(args[0]!))
for (const { name, file, from } of wanted) {
  const count = readFileSync(join(root, 'src/virtio', file), 'utf8').split(from).length - 1
  if (count !== 1) throw new Error(`"${name}": its text is ${count} times in ${file}`)
}
const copies = Array.from({ length: AT_ONCE }, (_, i) => copyTree(`${i}`))
// Of one by name one knows why one asks.
const before = args.length > 0 ? undefined : await suite(copies[0]!)
if (before) throw new Error(`the suite fails as it is: ${before}`)

const outcomes = new Map<Mutation, string | undefined>()
const todo = [...wanted]
await Promise.all(
  copies.map(async copy => {
    for (let one = todo.shift(); one; one = todo.shift()) {
      const { name, file, from, to } = one
      const path = join(copy, 'src/virtio', file)
      const source = readFileSync(path, 'utf8')
      writeFileSync(
        path,
        source.replace(from, () => to),
      )
      const found = await suite(copy)
      writeFileSync(path, source)
      outcomes.set(one, found)
      process.stderr.write(`${found ? 'noticed' : 'SURVIVED'}  ${file}: ${name}\n`)
    }
  }),
)
rmSync(folder, { recursive: true })

const survivors = wanted.filter(one => !outcomes.get(one))
const text = report(wanted, outcomes)
process.stdout.write(text)
if (args.length === 0) writeFileSync(join(root, 'docs/mutation.md'), text)
process.exitCode = survivors.length > 0 ? 1 : 0

/** The document: each mutation, and what noticed it first. */
function report(mutations: readonly Mutation[], outcomes: ReadonlyMap<Mutation, string | undefined>): string {
  const cell = (text: string) => text.replaceAll('|', '\\|').slice(0, 110)
  return [
    '# Mutations',
    '',
    'Made by `npm run mutation`; do not edit. Each line breaks `src/virtio` in one place, and the suite (the cases of',
    '`src/conformance` on every transport and ring format, then 100 valid and 100 hostile random drivers) must notice.',
    '',
    `**${mutations.length - survivors.length} of ${mutations.length} noticed.**`,
    '',
    '| file | what is broken | noticed first by |',
    '| --- | --- | --- |',
    ...mutations.map(one => `| ${one.file} | ${one.name} | ${cell(outcomes.get(one) ?? '**nothing**')} |`),
    '',
  ].join('\n')
}
