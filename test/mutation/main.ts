/** `npm run -s mutation [-- NAME]`: breaks `src/virtio` in named ways, and counts the breaks that the suite notices. */

import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import cac from 'cac'
import { all } from './mutations.ts'

const cli = cac('npm run -s mutation --')
cli.usage('[NAME]').help()
const { args, options } = cli.parse()
if (options['help']) process.exit()

const root = new URL('../..', import.meta.url).pathname
const copy = join(root, '.cache/mutation')
rmSync(copy, { recursive: true, force: true })
mkdirSync(copy, { recursive: true })
for (const part of ['src', 'test/fuzz', 'test/mutation', 'package.json', 'tsconfig.base.json'])
  cpSync(join(root, part), join(copy, part), { recursive: true })
symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))

/** Runs the suite on the copy: what noticed something, or undefined. */
function suite(): string | undefined {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--import', 'tsx', join(copy, 'test/mutation/suite.ts')],
    {
      cwd: copy,
      encoding: 'utf8',
      timeout: 180_000,
    },
  )
  if (status === 0) return undefined
  return (
    stdout.trim() ||
    stderr
      .trim()
      .split('\n')
      .find(line => line.includes('Error')) ||
    'it never ends'
  )
}

const wanted = all.filter(({ name }) => args.length === 0 || name.includes(args[0]!))
for (const { name, file, from } of wanted) {
  const count = readFileSync(join(root, 'src/virtio', file), 'utf8').split(from).length - 1
  if (count !== 1) throw new Error(`"${name}": its text is ${count} times in ${file}`)
}
const before = suite()
if (before) throw new Error(`the suite fails as it is: ${before}`)
const survivors: string[] = []
for (const { name, file, from, to } of wanted) {
  const path = join(copy, 'src/virtio', file)
  const source = readFileSync(path, 'utf8')
  writeFileSync(
    path,
    source.replace(from, () => to),
  )
  const found = suite()
  writeFileSync(path, source)
  if (!found) survivors.push(`${file}: ${name}`)
  console.log(`${found ? 'noticed' : 'SURVIVED'}  ${file}: ${name}${found ? `  (${found.slice(0, 110)})` : ''}`)
}
console.log(`${wanted.length - survivors.length} of ${wanted.length} noticed`)
process.exitCode = survivors.length > 0 ? 1 : 0
