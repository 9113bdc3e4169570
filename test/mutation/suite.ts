/** The suite without a test runner: stops at the first case that fails, and says which. */

import fc from 'fast-check'
import { open } from '../../src/conformance/ours.ts'
import { cases, conformanceVariants } from '../../src/conformance/suite.ts'
import { hostileDriver, runHostile } from '../fuzz/hostile.ts'
import { runValid, validDriver } from '../fuzz/valid.ts'

function caught(by: string, error: unknown): never {
  console.log(`${by}: ${error instanceof Error ? error.message.split('\n')[0] : error}`)
  process.exit(1)
}
process.on('uncaughtException', error => caught('uncaught', error))

for (const one of cases)
  for (const variant of conformanceVariants) {
    if (one.absent?.(variant)) continue
    try {
      const skipped = one.run(open(one.subject, variant, one.options))
      if (skipped) throw new Error(`it says it does not apply: ${skipped}`)
    } catch (error) {
      caught(`${one.id} on ${variant.title}`, error)
    }
  }
const valid = fc.check(fc.property(validDriver, runValid), { seed: 1, numRuns: 100 })
if (valid.failed) caught('a valid random driver', valid.errorInstance)
const hostile = await fc.check(fc.asyncProperty(hostileDriver, runHostile), { seed: 1, numRuns: 100 })
if (hostile.failed) caught('a hostile random driver', hostile.errorInstance)
