/** A fault somebody could make: one string of a file in `src/virtio` for another. */
export interface Mutation {
  readonly name: string
  readonly file: string
  readonly from: string
  readonly to: string
}

const mutations = (file: string, list: readonly (readonly [string, string, string])[]): Mutation[] =>
  list.map(([name, from, to]) => ({ name, file, from, to }))

export const all: readonly Mutation[] = [
  ...mutations('split-ring.ts', [
    ['event index one too late', '((after - event - 1) & 0xffff)', '((after - event) & 0xffff)'],
    ['event index compared with <=', '< ((after - before) & 0xffff)', '<= ((after - before) & 0xffff)'],
    ['event index without the wrap', '((after - event - 1) & 0xffff) <', 'after - event - 1 <'],
    ['interrupts in spite of NO_INTERRUPT', '!(halves[driver >>> 1]! & NO_INTERRUPT)', 'true'],
    ['avail.idx may run one too far', 'if (waiting > this.size)', 'if (waiting > this.size + 1)'],
    ['a head past the table', 'if (index >= count ||', 'if (index > count ||'],
    ['loops are not noticed', 'steps === count) lost', 'steps === 100000) lost'],
    ['indirect tables nest', 'if (slots > 0) throw', 'if (false) throw'],
    [
      'INDIRECT with NEXT',
      "if (flags & NEXT) throw new GuestError('2.7.5.3.1'",
      "if (false) throw new GuestError('2.7.5.3.1'",
    ],
    ['buffers outside RAM', 'if (high > 0 || !memory.has(low, length)) outsideRam', 'if (false) outsideRam'],
    ['buffers over the rings', 'if (low < this.high && low + length > this.low) this', 'if (false) this'],
    ['readable after writable', 'if (writable > 0) outOfOrder', 'if (false) outOfOrder'],
    ['used elements in the wrong slot', 'usedIndex & this.mask', '(usedIndex + 1) & this.mask'],
    ['avail_event is never written', 'this.availEvent = this.next\n', 'this.availEvent = this.next\n    return\n'],
    ['NOTIFY_ON_EMPTY ignored', 'if (features.notifyOnEmpty &&', 'if (false &&'],
  ]),
  ...mutations('ring.ts', [
    ['INDIRECT without negotiation', 'if (!this.features.indirect)', 'if (false)'],
    ['indirect tables of half a descriptor', 'length === 0 || length % DESCRIPTOR !== 0', 'length === 0'],
    ['indirect tables of any length', 'if (entries > MAX_INDIRECT)', 'if (entries > 2 ** 30)'],
    ['buffers beside the rings are refused', 'address < end && address + length > start', 'true'],
  ]),
  ...mutations('packed-ring.ts', [
    ['the wrap counter is not looked at', '=== (position < this.size ? AVAIL : USED)', '=== AVAIL'],
    ['used flags of the wrong lap', 'usedIndex < size ? AVAIL | USED : 0', 'AVAIL | USED'],
    ['the ID of the first descriptor', 'id = last & 0xffff', 'id ||= last & 0xffff'],
    ['a used chain takes one slot', 'usedIndex + slots', 'usedIndex + 1'],
    ['chains go on into unavailable slots', '|| !this.available(flags, next)) unfinished', ') unfinished'],
    ['interrupts in spite of DISABLE', 'return flags !== DISABLE', 'return true'],
    ['event offset without its wrap counter', '(suppression & 0x8000 ? 0 : size)', '0'],
  ]),
  ...mutations('queue.ts', [
    ['reset keeps the size', 'this.size = this.maxSize\n    this.ready', 'this.ready'],
    ['reset keeps requests alive', 'this.session++', ''],
    ['IN_ORDER is forgotten', 'this.order = features.inOrder ? [] : undefined', 'this.order = undefined'],
  ]),
  ...mutations('chain.ts', [
    [
      'the used length counts past a gap',
      'if (start <= chain.written && at > chain.written)',
      'if (at > chain.written)',
    ],
    ['a chain is filled while it is under way', 'return this.session === COMPLETED', 'return true'],
    ['writes after a reset', 'return this.queue.session === this.session', 'return true'],
  ]),
  ...mutations('core.ts', [
    ['FEATURES_OK with unoffered bits', 'if (this.accepts & ~this.offeredTo(false)) return false', ''],
    ['FEATURES_OK without VERSION_1', 'if (!this.accepted(Feature.VERSION_1)) return false', ''],
    ['features change after FEATURES_OK', 'if (this.status & Status.FEATURES_OK || this.started', 'if (this.started'],
    ['queues run before DRIVER_OK', '(this.status & Status.DRIVER_OK) !== 0 || this.legacy', 'true'],
    ['reset keeps the features', 'this.accepts = 0n\n    this.notificationData', 'this.notificationData'],
    ['NEEDS_RESET without an interrupt', "if (before & Status.DRIVER_OK) this.raise('config')\n  }\n}", '}\n}'],
    ['rings may lie outside RAM', 'this.memory.has(start, end - start) &&', ''],
    ['rings may be misaligned', 'start % align === 0 &&', ''],
    ['any queue size', 'if (!isPower(size) && !this.accepted(Feature.RING_PACKED)) return', ''],
    ['the configuration changes unseen', 'this.generation = (this.generation + 1) & 0xff', 'this.generation &= 0xff'],
    ['read-only configuration is writable', 'if (!this.writable[offset + i]) continue', ''],
    ['status bits can be cleared', 'if (this.status & ~value & ~Status.NEEDS_RESET) return this.status', ''],
  ]),
  ...mutations('mmio.ts', [
    ['InterruptACK clears everything', 'this.causes &= ~causes', 'this.causes = 0'],
    ['reset keeps InterruptStatus', 'this.acknowledge(this.causes)', ''],
  ]),
  ...mutations('pci.ts', [
    ['reset keeps the vectors', 'this.queueVectors.fill(NO_VECTOR)', ''],
    ['the ISR is not cleared by reading', 'this.isr = 0\n    if (value', 'if (value'],
    ['MSI-X and INTA# at once', 'return\n    }\n    this.isr |=', '}\n    this.isr |='],
  ]),
]
