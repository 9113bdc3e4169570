/** What the benchmarks call in the page: `bench.ours(…)`, `bench.theirs(…)`. */

import { OurDisks, TheirDisk, type TheirDiskMachine } from './disk-guests.ts'
import { idleDisk } from './idle-disk.ts'
import { OurMachine } from './ours.ts'
import { OurPair } from './pair.ts'
import { rawStore } from './raw-stores.ts'
import { TheirMachine, type TheirOptions, type Wiring } from './theirs.ts'
import { yields } from './yields.ts'

const bench = {
  ours: () => new OurMachine(),
  pair: () => new OurPair(),
  theirs: (wiring: Wiring, options?: TheirOptions) => new TheirMachine(wiring, options),
  ourDisks: (machine: unknown) => OurDisks.boot(machine),
  theirDisk: (machine: TheirDiskMachine) => TheirDisk.boot(machine),
  idleDisk,
  rawStore,
  yields,
}
export type Bench = typeof bench
Object.assign(globalThis, { bench })
