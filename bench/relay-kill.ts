import { whyNot } from '../test/relay/internet.ts'
import { failOver, killNats, killPasst, killRelay } from '../test/relay/kill.ts'
import { type Benchmark, type Row, row } from './harness/row.ts'

const RUNS = 5
/** The longest a guest may be cut off by a relay that is started again, in milliseconds. */
const HEALED = 5000

/** One row for each time that `scenario` gives. */
async function* repeat<K extends string>(
  scenario: () => Promise<Record<K, number>>,
  what: Readonly<Record<K, string>>,
  targets: Partial<Record<K, Row['target']>> = {},
): AsyncGenerator<Row> {
  const runs: Record<K, number>[] = []
  for (let run = 1; run <= RUNS; run++) {
    process.stderr.write(`${Object.values(what).at(-1)}: run ${run} of ${RUNS}\n`)
    runs.push(await scenario())
  }
  for (const key of Object.keys(what) as K[]) {
    const target = targets[key]
    yield row({ what: what[key], unit: 'ms', ours: runs.map(run => run[key]), ...(target && { target }) })
  }
}

async function* run(): AsyncGenerator<Row> {
  const relay = {
    noticed: 'relay killed: its guests notice',
    listens: 'relay killed and started again: it listens',
    healed: 'relay killed and started again: guests reach each other',
  }
  yield* repeat(killRelay, relay, { healed: { atMost: HEALED } })
  const noNats = whyNot('nats-server')
  if (noNats) console.error(`NATS is NOT measured: ${noNats}.`)
  else {
    yield* repeat(failOver, { healed: 'one of two relays killed: its guest is reached by way of the other' })
    const nats = {
      local: 'nats-server killed: guests of one relay reach each other',
      said: 'nats-server killed: the relay says so',
      healed: 'nats-server started again: guests of two relays reach each other',
    }
    yield* repeat(killNats, nats)
  }
  const noPasst = whyNot('ip', 'nft', 'passt')
  if (noPasst) console.error(`passt is NOT measured: ${noPasst}.`)
  else yield* repeat(killPasst, { healed: 'passt killed: its guest has a new connection to the internet' })
}

export default { title: 'What kill -9 under load takes to heal', run } satisfies Benchmark
