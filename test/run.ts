/** `npm test`: everything, in order of how soon it fails; the last line sums it up. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { JSONReport, JSONReportSuite } from '@playwright/test/reporter'
import type { JsonTestResults } from 'vitest/node'
import { needChromium } from './chromium.ts'

const reports = mkdtempSync(join(tmpdir(), 'ringlet-test-'))
const total = { passed: 0, failed: 0 }
/** What failed, named again at the end, where it is looked for. */
const failures: string[] = []

/** How much of what a failure said is told again, in characters. */
const MESSAGE = 2000

interface Outcome {
  readonly ok: boolean
  /** The end of what was printed. */
  readonly words: string
}

/** Runs a tool, which prints as it goes. */
async function run(title: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  console.log(`\n== ${title}`)
  const tool = spawn('npx', ['--no-install', ...args], {
    stdio: ['inherit', 'pipe', 'pipe'],
    env: { ...process.env, ...(process.stdout.isTTY && { FORCE_COLOR: '1' }), ...env },
  })
  let words = ''
  for (const stream of [tool.stdout, tool.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      process.stdout.write(text)
      words = (words + text).slice(-MESSAGE)
    })
  const [status] = await once(tool, 'close')
  return { ok: status === 0, words }
}

/** A tool that only says yes or no counts as one. */
async function check(title: string, args: readonly string[]) {
  const outcome = await run(title, args)
  count(title, outcome, outcome.ok ? 1 : 0, [], 0)
}

/** A tool that died, or could not report, has failed at least once. */
function count(title: string, { ok, words }: Outcome, passed: number, failed: readonly string[], skipped: number) {
  const named = ok || failed.length > 0 ? failed : [words]
  total.passed += passed
  total.failed += named.length
  failures.push(...named.map(failure => `${title}: ${failure}`))
  if (skipped > 0) console.log(`${skipped} skipped`)
}

const failure = (name: string, messages: readonly string[]) => `${name}\n${messages.join('\n').slice(0, MESSAGE)}`

async function vitest(project: string) {
  const report = join(reports, `${project}.json`)
  const args = [
    'vitest',
    'run',
    '--project',
    project,
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
  ]
  const outcome = await run(`vitest: ${project}`, args)
  const { numPassedTests = 0, numPendingTests = 0, testResults = [] } = read<JsonTestResults>(report)
  const failed = testResults
    .filter(file => file.status === 'failed')
    .flatMap(({ name, message, assertionResults }) => {
      const tests = assertionResults.filter(({ status }) => status === 'failed')
      // A file may fail before or after its tests.
      if (tests.length === 0) return failure(name, [message])
      return tests.map(({ fullName, failureMessages }) => failure(fullName, failureMessages ?? []))
    })
  count(project, outcome, numPassedTests, failed, numPendingTests)
}

async function playwright() {
  let browser: string
  try {
    browser = needChromium()
  } catch (error) {
    return count('browser', { ok: false, words: (error as Error).message }, 0, [], 0)
  }
  const report = join(reports, 'browser.json')
  const outcome = await run('playwright: browser', ['playwright', 'test', '--reporter=list,json'], {
    ...{ PLAYWRIGHT_JSON_OUTPUT_FILE: report, CHROMIUM: browser },
  })
  const { stats, suites = [] } = read<JSONReport>(report)
  const { expected = 0, flaky = 0, skipped = 0 } = stats ?? {}
  count('browser', outcome, expected + flaky, unexpected(suites), skipped)
}

/** The tests that failed in a report's suites, which hold suites. */
function unexpected(suites: readonly JSONReportSuite[]): string[] {
  return suites.flatMap(({ suites = [], specs }) => [
    ...unexpected(suites),
    ...specs
      .filter(({ ok }) => !ok)
      .map(({ file, title, tests }) => {
        const errors = tests.flatMap(({ results }) => results.flatMap(({ errors }) => errors))
        return failure(
          `${file}: ${title}`,
          errors.map(({ message }) => message),
        )
      }),
  ])
}

/** Another program's report, or nothing of it. */
function read<Report>(report: string): Partial<Report> {
  try {
    return JSON.parse(readFileSync(report, 'utf8'))
  } catch {
    return {}
  }
}

await check('types', ['tsc', '-b'])
await check('lint and format', ['biome', 'check'])
await vitest('unit')
await check('conformance', ['tsx', 'test/conformance/main.ts', '--check'])
await check('fuzz', ['tsx', 'test/fuzz/main.ts', '--seconds', '60'])
await vitest('guest')
await vitest('relay')
await playwright()
await check('durability: two kills', ['tsx', 'test/disk/durability.ts', '--runs', '2'])
rmSync(reports, { recursive: true })
if (failures.length > 0) console.log(`\n== what failed\n${failures.join('\n')}`)
console.log(`${total.passed} passed, ${total.failed} failed`)
process.exitCode = total.failed > 0 ? 1 : 0
