/** `npm run -s conformance [-- --check]`: the whole suite against ours and against QEMU; writes docs/conformance.md. */

import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import cac from 'cac'
import type { Case } from '../../src/conformance/case.ts'
import { open } from '../../src/conformance/ours.ts'
import { type Rig, type SubjectKind, type Variant, Violation } from '../../src/conformance/rig.ts'
import { cases, conformanceVariants } from '../../src/conformance/suite.ts'
import { LinuxError } from '../../src/driver/errno.ts'
import { judgements } from './judgements.ts'
import { QemuSubject, qemuVersion } from './qemu.ts'
import { type Results, report, type Verdict } from './report.ts'

/** For one transport against QEMU, in milliseconds. */
const LONGEST = 1_800_000

const cli = cac('npm run -s conformance --')
cli.option('--check', 'Writes nothing; fails if docs/conformance.md does not say what was found')
cli.option('--no-qemu', 'Only our own devices; docs/conformance.md stays as it is')
cli.option('--only <index>', 'One transport against QEMU, as JSON')
cli.help()
const { options } = cli.parse()
if (options['help']) process.exit()

function verdict(one: Case, variant: Variant, make: () => Rig): Verdict {
  const absent = one.absent?.(variant)
  if (absent) return { is: 'absent', why: absent }
  try {
    const reason = one.run(make())
    return reason ? { is: 'absent', why: reason } : { is: 'pass' }
  } catch (error) {
    if (error instanceof Violation || error instanceof LinuxError) return { is: 'fail', why: error.message }
    throw error
  }
}

function ours(): Results {
  return conformanceVariants.map(variant =>
    cases.map(one => verdict(one, variant, () => open(one.subject, variant, one.options))),
  )
}

/** One variant against QEMU. */
function qemu(variant: Variant): readonly Verdict[] {
  const running = new Map<SubjectKind, QemuSubject>()
  const verdicts = cases.map((one): Verdict => {
    if (one.subject === 'echo' && !one.absent?.(variant))
      return { is: 'absent', why: 'it takes a look inside the device, or one that QEMU does not have' }
    const result = verdict(one, variant, () => {
      const subject = running.get(one.subject) ?? new QemuSubject(one.subject, variant)
      running.set(one.subject, subject)
      return subject.open()
    })
    // What a device is like after it broke a rule is not the next test's business.
    if (result.is === 'fail') {
      running.get(one.subject)?.close()
      running.delete(one.subject)
    }
    return result
  })
  for (const subject of running.values()) subject.close()
  return verdicts
}

/** All of them at once, a process each: most of the time is spent waiting for QEMU. */
async function qemus(): Promise<Results> {
  const program = fileURLToPath(import.meta.url)
  return Promise.all(
    conformanceVariants.map(async ({ title }, index) => {
      const { stdout } = await promisify(execFile)(
        process.execPath,
        [...process.execArgv, program, '--only', `${index}`],
        { timeout: LONGEST },
      )
      process.stderr.write(`QEMU, ${title}: done\n`)
      return JSON.parse(stdout) as readonly Verdict[]
    }),
  )
}

if (options['only'] !== undefined) {
  process.stdout.write(JSON.stringify(qemu(conformanceVariants[Number(options['only'])]!)))
  process.exit()
}
const document = new URL('../../docs/conformance.md', import.meta.url)
let version: string | undefined
try {
  if (options['qemu'] !== false) version = qemuVersion()
} catch (error) {
  console.error((error as Error).message)
  process.exit(1)
}
const mine = ours()
const theirs = version === undefined ? undefined : await qemus()
const text = report(mine, version && theirs ? { results: theirs, version, judgements } : undefined)
if (!options['check']) process.stdout.write(text)
if (theirs && !options['check']) writeFileSync(document, text)

const broken = (results: Results) =>
  results.flatMap((column, i) =>
    column.flatMap((one, j) =>
      one.is === 'fail' ? [{ id: cases[j]!.id, where: conformanceVariants[i]!.title, why: one.why }] : [],
    ),
  )
const faults = [
  ...broken(mine).map(({ id, where, why }) => `${id} on ${where}: ${why}`),
  ...broken(theirs ?? [])
    .filter(({ id }) => !judgements[id])
    .map(({ id, where, why }) => `QEMU, ${id} on ${where}: ${why}; judgements.ts does not say who is right`),
]
const differing = new Set(broken(theirs ?? []).map(({ id }) => id))
if (theirs)
  for (const id of Object.keys(judgements))
    if (!differing.has(id)) faults.push(`judgements.ts judges ${id}, in which QEMU does not differ`)
if (options['check'] && theirs) {
  const committed = readFileSync(document, 'utf8').split('\n')
  const found = text.split('\n')
  const lines = [
    ...committed.filter(line => !found.includes(line)).map(line => `- ${line}`),
    ...found.filter(line => !committed.includes(line)).map(line => `+ ${line}`),
  ]
  if (lines.length > 0)
    faults.push('docs/conformance.md says something else. If that is right, run npm run conformance:', ...lines)
  else console.log('docs/conformance.md says what was found.')
}
for (const fault of faults) console.error(fault)
process.exitCode = faults.length > 0 ? 1 : 0
