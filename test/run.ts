/** `npm test`: everything, in order of how soon it fails; the last line sums it up. */

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { needChromium } from './chromium.ts'

const reports = mkdtempSync(join(tmpdir(), 'ringlet-test-'))
const total = { passed: 0, failed: 0 }
/** What failed, named again at the end, where it is looked for. */
const failures: string[] = []

/** How much of what a failure said is told again, in characters. */
const MESSAGE = 2000

function run(title: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): boolean {
  console.log(`\n== ${title}`)
  const { status } = spawnSync('npx', ['--no-install', ...args], { stdio: 'inherit', env: { ...process.env, ...env } })
  return status === 0
}

/** A tool that only says yes or no counts as one; its last words are kept. */
async function check(title: string, args: readonly string[]) {
  console.log(`\n== ${title}`)
  const tool = spawn('npx', ['--no-install', ...args], { stdio: ['inherit', 'pipe', 'pipe'] })
  let words = ''
  const hear = (data: Buffer) => {
    process.stdout.write(data)
    words = (words + data).slice(-MESSAGE)
  }
  tool.stdout.on('data', hear)
  tool.stderr.on('data', hear)
  const [status] = await once(tool, 'close')
  total[status === 0 ? 'passed' : 'failed']++
  if (status !== 0) failures.push(`${title}\n${words}`)
}

/** A test runner that died, or could not report, has failed at least once. */
function count(title: string, ok: boolean, passed: number, failed: readonly string[], skipped: number) {
  const named = ok || failed.length > 0 ? failed : ['its runner, outside of any test']
  total.passed += passed
  total.failed += named.length
  failures.push(...named.map(failure => `${title}: ${failure}`))
  if (skipped > 0) console.log(`${skipped} skipped`)
}

function vitest(project: string) {
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
  const ok = run(`vitest: ${project}`, args)
  const { numPassedTests = 0, numPendingTests = 0, testResults = [] } = read(report)
  const failed: string[] = []
  for (const { name, status, message, assertionResults } of testResults) {
    // A file that could not be run has no tests.
    if (status === 'failed' && assertionResults.length === 0) failed.push(`${name}\n${message.slice(0, MESSAGE)}`)
    for (const { status, fullName, failureMessages } of assertionResults)
      if (status === 'failed') failed.push(`${fullName}\n${failureMessages.join('\n').slice(0, MESSAGE)}`)
  }
  count(project, ok, numPassedTests, failed, numPendingTests)
}

function playwright() {
  let browser: string
  try {
    browser = needChromium()
  } catch (error) {
    return count('browser', false, 0, [(error as Error).message], 0)
  }
  const report = join(reports, 'browser.json')
  const ok = run('playwright: browser', ['playwright', 'test', '--reporter=list,json'], {
    ...{ PLAYWRIGHT_JSON_OUTPUT_FILE: report, CHROMIUM: browser },
  })
  const { stats: { expected = 0, flaky = 0, skipped = 0 } = {}, suites = [] } = read(report)
  count('browser', ok, expected + flaky, unexpected(suites), skipped)
}

/** The tests that failed in a report's suites, which hold suites. */
// biome-ignore lint/suspicious/noExplicitAny: another program's report
function unexpected(suites: any[]): string[] {
  return suites.flatMap(({ suites = [], specs = [] }) => [
    ...unexpected(suites),
    // biome-ignore lint/suspicious/noExplicitAny: another program's report
    ...specs.filter((spec: any) => !spec.ok).map(({ file, title }: any) => `${file}: ${title}`),
  ])
}

// biome-ignore lint/suspicious/noExplicitAny: other programs' reports
function read(report: string): any {
  try {
    return JSON.parse(readFileSync(report, 'utf8'))
  } catch {
    return {}
  }
}

await check('types', ['tsc', '-b'])
await check('lint and format', ['biome', 'check'])
vitest('unit')
await check('conformance', ['tsx', 'test/conformance/main.ts', '--check'])
await check('fuzz', ['tsx', 'test/fuzz/main.ts', '--seconds', '60'])
vitest('guest')
vitest('relay')
playwright()
await check('durability: two kills', ['tsx', 'test/disk/durability.ts', '--runs', '2'])
rmSync(reports, { recursive: true })
if (failures.length > 0) console.log(`\n== what failed\n${failures.join('\n')}`)
console.log(`${total.passed} passed, ${total.failed} failed`)
process.exitCode = total.failed > 0 ? 1 : 0
