/** `npm test`: everything, in order of how soon it fails; the last line sums it up. */

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { needChromium } from './chromium.ts'

const reports = mkdtempSync(join(tmpdir(), 'ringlet-test-'))
const total = { passed: 0, failed: 0 }

function run(title: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): boolean {
  console.log(`\n== ${title}`)
  const { status } = spawnSync('npx', ['--no-install', ...args], { stdio: 'inherit', env: { ...process.env, ...env } })
  return status === 0
}

/** A tool that only says yes or no counts as one. */
function check(title: string, args: readonly string[]) {
  total[run(title, args) ? 'passed' : 'failed']++
}

/** A test runner that died, or could not report, has failed at least once. */
function count(ok: boolean, passed: number, failed: number, skipped: number) {
  total.passed += passed
  total.failed += ok || failed > 0 ? failed : 1
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
  const { numPassedTests = 0, numFailedTests = 0, numPendingTests = 0 } = read(report)
  count(ok, numPassedTests, numFailedTests, numPendingTests)
}

function playwright() {
  let browser: string
  try {
    browser = needChromium()
  } catch (error) {
    console.log((error as Error).message)
    return count(false, 0, 1, 0)
  }
  const report = join(reports, 'browser.json')
  const ok = run('playwright: browser', ['playwright', 'test', '--reporter=list,json'], {
    ...{ PLAYWRIGHT_JSON_OUTPUT_FILE: report, CHROMIUM: browser },
  })
  const { expected = 0, flaky = 0, unexpected = 0, skipped = 0 } = read(report)['stats'] ?? {}
  count(ok, expected + flaky, unexpected, skipped)
}

// biome-ignore lint/suspicious/noExplicitAny: other programs' reports
function read(report: string): any {
  try {
    return JSON.parse(readFileSync(report, 'utf8'))
  } catch {
    return {}
  }
}

check('types', ['tsc', '-b'])
check('lint and format', ['biome', 'check'])
vitest('unit')
check('conformance', ['tsx', 'test/conformance/main.ts', '--check'])
check('fuzz', ['tsx', 'test/fuzz/main.ts', '--seconds', '60'])
vitest('guest')
vitest('relay')
playwright()
check('durability: two kills', ['tsx', 'test/disk/durability.ts', '--runs', '2'])
rmSync(reports, { recursive: true })
console.log(`${total.passed} passed, ${total.failed} failed`)
process.exitCode = total.failed > 0 ? 1 : 0
