import { viewOf } from '../net/ethernet.ts'
import { IPV6_HEADER, ihl, ipIn } from '../net/tcp.ts'

/** Flows remembered; beyond it the one learned first is forgotten. */
const CAPACITY = 4096

/** §5.1.6.5.6.1: what belongs to a flow comes back by the pair of queues it was last sent by. */
export class FlowTable {
  private readonly pairs = new Map<number, number>()

  /** The guest sent a frame by this pair. */
  learn(frame: Uint8Array, pair: number) {
    const flow = flowOf(frame)
    if (this.pairs.get(flow) === pair) return
    if (this.pairs.size >= CAPACITY) this.pairs.delete(this.pairs.keys().next().value!)
    this.pairs.set(flow, pair)
  }

  /** Where a frame for the guest belongs; a flow nobody has heard of goes by the first. */
  pairOf(frame: Uint8Array): number {
    return this.pairs.get(flowOf(frame)) ?? 0
  }
}

/** A number for both directions of a flow: addresses and, where there are any, the first bytes behind IP (the ports). */
function flowOf(frame: Uint8Array): number {
  const ip = ipIn(frame)
  if (!ip) return 0
  const { at, version } = ip
  const transport = at + (version === 4 ? ihl(frame, at) : IPV6_HEADER)
  if (transport + 4 > frame.length) return 0
  const view = viewOf(frame)
  const addresses =
    version === 4 ? view.getInt32(at + 12) ^ view.getInt32(at + 16) : view.getInt32(at + 20) ^ view.getInt32(at + 36)
  return addresses ^ Math.imul(view.getUint16(transport) ^ view.getUint16(transport + 2), 0x10001)
}
