/** What the benchmarks call in the page: `bench.ours(…)`, `bench.theirs(…)`. */

import { OurMachine } from './ours.ts'
import { TheirMachine, type Wiring } from './theirs.ts'
import { yields } from './yields.ts'

const bench = {
  ours: () => new OurMachine(),
  theirs: (wiring: Wiring) => new TheirMachine(wiring),
  yields,
}
export type Bench = typeof bench
Object.assign(globalThis, { bench })
