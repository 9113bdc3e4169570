import fc from 'fast-check'
import { BLOCK, BlockState, type BlockStore } from '../../worker/backends/block-store.ts'

/** What a store is asked to do. Blocks are filled with one value, so that a torn one shows. */
export type Step =
  | { readonly do: 'write'; readonly block: number; readonly count: number; readonly value: number }
  | { readonly do: 'mark'; readonly block: number; readonly count: number; readonly state: number }
  | { readonly do: 'flush' }

export const BLOCKS = 24
const range = fc.record({ block: fc.nat(BLOCKS - 1), count: fc.integer({ min: 1, max: 6 }) })
export const steps = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: range.chain(at =>
        fc.record({ ...constant(at), do: fc.constant('write' as const), value: fc.integer({ min: 1, max: 255 }) }),
      ),
    },
    {
      weight: 1,
      arbitrary: range.chain(at =>
        fc.record({
          ...constant(at),
          do: fc.constant('mark' as const),
          state: fc.constantFrom(BlockState.ABSENT, BlockState.ZERO),
        }),
      ),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('flush' as const) }) },
  ),
  { minLength: 1, maxLength: 40 },
)
function constant({ block, count }: { block: number; count: number }) {
  return { block: fc.constant(block), count: fc.constant(Math.min(count, BLOCKS - block)) }
}

/** What each block may read as: what the last flush made last, and everything asked for since. 0 is zeroes. */
export class CrashModel {
  private readonly now: number[] = new Array(BLOCKS).fill(0)
  private readonly may: Set<number>[] = Array.from({ length: BLOCKS }, () => new Set([0]))

  /** Call it before the step is begun: from then on its effect may be there. */
  begin(step: Step) {
    if (step.do === 'flush') return
    for (let i = step.block; i < step.block + step.count; i++)
      this.may[i]!.add((this.now[i] = step.do === 'write' ? step.value : 0))
  }
  done(step: Step) {
    if (step.do === 'flush') for (const [i, value] of this.now.entries()) this.may[i] = new Set([value])
  }
  async run(store: BlockStore, step: Step) {
    this.begin(step)
    if (step.do === 'write') await store.write(step.block, new Uint8Array(step.count * BLOCK).fill(step.value))
    else if (step.do === 'mark') await store.mark(step.block, step.count, step.state)
    else await store.flush()
    this.done(step)
  }
  /** Says what is wrong with a store, if anything. With `exact`, it must hold the last value of each block. */
  async faults(store: BlockStore, exact = false): Promise<string[]> {
    const faults: string[] = []
    for (let i = 0; i < BLOCKS; i++) {
      const bytes = new Uint8Array(BLOCK)
      if (store.state(i) === BlockState.DATA) await store.read(i * BLOCK, bytes)
      const value = bytes[0]!
      if (Buffer.compare(bytes, new Uint8Array(BLOCK).fill(value)) !== 0) faults.push(`block ${i} is torn`)
      else if (exact ? value !== this.now[i] : !this.may[i]!.has(value))
        faults.push(`block ${i} reads ${value}, and may be ${exact ? this.now[i] : [...this.may[i]!]}`)
    }
    return faults
  }
}
