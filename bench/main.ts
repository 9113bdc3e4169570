/** `npm run -s bench -- NAME [--json]`: runs one benchmark; without a name, lists them. */

import { readdir } from 'node:fs/promises'
import { basename } from 'node:path'
import cac from 'cac'
import { type Benchmark, met, type Row, type Target } from './harness/row.ts'

const cli = cac('npm run -s bench --')
cli.usage('NAME [--json]').option('--json', 'Print the result as JSON, and nothing else')
cli.help()
const { args, options } = cli.parse()
const names = (await readdir(import.meta.dirname))
  .filter(file => file.endsWith('.ts') && file !== basename(import.meta.filename))
  .map(file => file.slice(0, -3))
  .sort()

const benchmark = async (name: string): Promise<Benchmark> => (await import(`./${name}.ts`)).default
const number = (value: number | undefined) => (value === undefined ? '' : Number(value.toPrecision(4)).toString())
const wanted = (target: Target | undefined) =>
  target ? ('atMost' in target ? `<= ${number(target.atMost)}` : `>= ${number(target.atLeast)}`) : ''
const percent = (values: readonly number[] | undefined) =>
  (values ?? []).map(v => `${Math.round(v * 100)} %`).join(', ')

async function list() {
  for (const name of names) console.log(`${name.padEnd(16)} ${(await benchmark(name)).title}`)
}

function table(rows: readonly Row[]) {
  const lines = [['', 'ours', 'peer', 'unit', 'ratio', 'target', 'met', 'spread']]
  for (const row of rows) {
    const { what, ours, peer, unit, ratio, target, spread } = row
    const verdict = { true: 'yes', false: 'NO', undefined: '' }[`${met(row)}`]!
    lines.push([what, number(ours), number(peer), unit, number(ratio), wanted(target), verdict, percent(spread)])
  }
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map(line => line[column]!.length)))
  for (const line of lines)
    console.log(
      line
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
}

function json(name: string, rows: readonly Row[]) {
  const plain = rows.map(row => ({
    what: row.what,
    ours: row.ours,
    peer: row.peer ?? null,
    ratio: row.ratio ?? null,
    target: wanted(row.target) || null,
    met: met(row) ?? null,
    unit: row.unit,
  }))
  console.log(JSON.stringify({ name, rows: plain }))
}

const [name] = args
if (options['help']) process.exit()
if (!name) await list()
else if (!names.includes(name)) {
  console.error(`There is no benchmark ${name}. There are: ${names.join(', ')}.`)
  process.exitCode = 2
} else {
  const { title, run } = await benchmark(name)
  if (!options['json']) console.log(title)
  const rows: Row[] = []
  for await (const row of run()) rows.push(row)
  if (options['json']) json(name, rows)
  else table(rows)
  if (rows.some(row => met(row) === false)) process.exitCode = 1
}
