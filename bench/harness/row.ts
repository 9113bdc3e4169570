/** One line of a benchmark's result. */
export interface Row {
  readonly what: string
  /** Medians, in `unit`. */
  readonly ours: number
  readonly peer?: number
  /** Ours by the peer's. */
  readonly ratio?: number
  /** How far runs lie apart: (largest - smallest) / median, ours and the peer's. */
  readonly spread?: readonly number[]
  readonly target?: Target
  readonly unit: string
}

/** What `ratio`, or without a peer `ours`, has to be. */
export type Target = { readonly atMost: number } | { readonly atLeast: number }

/** A file in `bench/` exports one as its default. */
export interface Benchmark {
  readonly title: string
  run(): AsyncIterable<Row>
}

/** Undefined where there is no target. */
export function met({ ours, ratio, target }: Row): boolean | undefined {
  if (!target) return undefined
  const value = ratio ?? ours
  return 'atMost' in target ? value <= target.atMost : value >= target.atLeast
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** Of the median; values that are all the same have none. */
const spread = (values: readonly number[]) => (Math.max(...values) - Math.min(...values)) / (median(values) || 1)

export interface Comparison {
  readonly what: string
  readonly unit: string
  readonly ours: () => Promise<number> | number
  readonly peer: () => Promise<number> | number
  readonly target?: Target
  /** At least 5. */
  readonly runs?: number
}

/** Both in turn, again and again: what disturbs one disturbs the other. */
export async function compare({ what, unit, ours, peer, target, runs = 5 }: Comparison): Promise<Row> {
  const [mine, theirs]: [number[], number[]] = [[], []]
  for (let run = 1; run <= runs; run++) {
    process.stderr.write(`${what}: run ${run} of ${runs}\n`)
    mine.push(await ours())
    theirs.push(await peer())
  }
  return row({ what, unit, ours: mine, peer: theirs, ...(target && { target }) })
}

/** A row from measured runs. */
export function row({
  what,
  unit,
  ours,
  peer,
  target,
}: Pick<Row, 'what' | 'unit' | 'target'> & { ours: readonly number[]; peer?: readonly number[] }): Row {
  return {
    what,
    unit,
    ours: median(ours),
    ...(peer && { peer: median(peer), ratio: median(ours) / median(peer) }),
    spread: peer ? [spread(ours), spread(peer)] : [spread(ours)],
    ...(target && { target }),
  }
}
