/** A relay in this process, and what it logged. */

import { type Logger, pino } from 'pino'
import { afterEach } from 'vitest'
import { checkOptions, type Options } from '../../relay/options.ts'
import { type Relay, type Surroundings, startRelay } from '../../relay/server.ts'
import { Guest, type GuestOptions } from './guest.ts'

export interface LogLine {
  readonly level: number
  readonly msg: string
  readonly reason?: string
  readonly [key: string]: unknown
}

/** A logger that keeps its lines. */
export function keepingLog(): { log: Logger; lines: LogLine[] } {
  const lines: LogLine[] = []
  const log = pino({ level: 'debug' }, { write: (line: string) => lines.push(JSON.parse(line)) })
  return { log, lines }
}

export interface TestRelay extends Relay {
  readonly lines: LogLine[]
  connect(options?: GuestOptions): Promise<Guest>
}

const open: { close(): unknown }[] = []
/** Closed after the test, in reverse order. */
export const closeLater = <T extends { close(): unknown }>(thing: T): T => {
  open.push(thing)
  return thing
}
afterEach(async () => {
  for (const thing of open.splice(0).reverse()) await thing.close()
})

/** On a free loopback port, for the running test. */
export async function testRelay(given: Partial<Options> = {}, around: Partial<Surroundings> = {}): Promise<TestRelay> {
  const { log, lines } = keepingLog()
  const options = checkOptions({ listen: '127.0.0.1:0', drainSeconds: 0, ...given })
  const relay = await startRelay(options, { log, ...around })
  const connect = async (options?: GuestOptions) => closeLater(await Guest.connect(relay.url, options))
  return closeLater({ ...relay, lines, connect })
}
