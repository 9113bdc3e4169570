/** `npm run -s fuzz -- --seconds N --seed S`: random drivers, valid and hostile, for as long as you like. */

import cac from 'cac'
import fc from 'fast-check'
import { hostileDriver, runHostile } from './hostile.ts'
import { runValid, validDriver } from './valid.ts'

const cli = cac('npm run -s fuzz --')
cli.option('--seconds <n>', 'How long', { default: 60 })
cli.option('--seed <s>', 'Where the random numbers start; the same seed does the same')
cli.help()
const { options } = cli.parse()
if (options['help']) process.exit()

const seconds = Number(options['seconds'])
let seed = Number(options['seed'] ?? Date.now() % 2 ** 31)
console.log(`seed ${seed}, ${seconds} s`)
const BATCH = 50
const until = Date.now() + seconds * 1000
const ran = { valid: 0, hostile: 0 }
/** Cases by device, transport and ring format. */
const combinations = new Map<string, number>()
const count = (name: string) => combinations.set(name, (combinations.get(name) ?? 0) + 1)
const validCase = fc.property(validDriver, script => {
  count(`valid, ${script.variant.title}`)
  runValid(script)
})
const hostileCase = fc.asyncProperty(hostileDriver, async script => {
  count(`${script.kind}, ${script.variant.title}`)
  await runHostile(script)
})
for (let shown = Date.now(); Date.now() < until && process.exitCode === undefined; seed++) {
  const batch = () => ({ seed, numRuns: BATCH, interruptAfterTimeLimit: Math.max(1, until - Date.now()) })
  const valid = fc.check(validCase, batch())
  const hostile = await fc.check(hostileCase, batch())
  ran.valid += valid.numRuns
  ran.hostile += hostile.numRuns
  for (const [name, result] of Object.entries({ valid, hostile })) {
    // One that was interrupted before its first success counts as failed, too.
    if (result.counterexample === null) continue
    console.error(`A ${name} driver found something. To see it again: npm run fuzz -- --seconds 60 --seed ${seed}`)
    console.error(await fc.asyncDefaultReportMessage(result as never))
    console.error((result.errorInstance as Error | null)?.stack)
    process.exitCode = 1
  }
  if (Date.now() - shown > 10_000) {
    shown = Date.now()
    console.log(`${ran.valid} valid and ${ran.hostile} hostile drivers so far, seed ${seed}`)
  }
}
const counts = [...combinations.values()]
console.log(
  `${ran.valid} valid and ${ran.hostile} hostile drivers; ${counts.length} combinations of device, transport and ring ` +
    `format, ${Math.min(...counts)} to ${Math.max(...counts)} each; ${process.exitCode ? 'a failure' : 'nothing found'}`,
)
