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
    ['interrupts in spite of NO_INTERRUPT', '!(view.getUint16(queue.driver, true) & NO_INTERRUPT)', 'true'],
    ['avail.idx may run one too far', 'if (waiting > queue.size)', 'if (waiting > queue.size + 1)'],
    ['a head past the table', 'if (index >= count)', 'if (index > count)'],
    ['loops are not noticed', 'if (steps >= count) throw', 'if (steps >= 100000) throw'],
    ['indirect tables nest', 'if (nested) throw', 'if (false) throw'],
    [
      'INDIRECT with NEXT',
      "if (flags & NEXT) throw new GuestError('2.7.5.3.1'",
      "if (false) throw new GuestError('2.7.5.3.1'",
    ],
    [
      'INDIRECT without negotiation',
      'this.features.indirect ? indirectEntries(memory, address, length) : notNegotiated()',
      'indirectEntries(memory, address, length)',
    ],
    ['indirect tables of half a descriptor', 'length === 0 || length % DESCRIPTOR !== 0', 'length === 0'],
    ['indirect tables of any length', 'if (entries > MAX_INDIRECT)', 'if (entries > 2 ** 30)'],
    [
      'buffers outside RAM',
      'if (!memory.has(address, length)) throw outsideRam(address, length)\n        if (flags & WRITE)',
      'if (flags & WRITE)',
    ],
    ['buffers over the rings', 'if (queue.overlaps(address, length)) throw', 'if (false) throw'],
    ['readable after writable', 'else if (chain.writable > 0) throw', 'else if (false) throw'],
    ['used elements in the wrong slot', 'this.usedIndex & this.mask', '(this.usedIndex + 1) & this.mask'],
    ['avail_event is never written', 'this.availEvent = this.next\n', 'this.availEvent = this.next\n    return\n'],
    ['NOTIFY_ON_EMPTY ignored', 'if (features.notifyOnEmpty &&', 'if (false &&'],
  ]),
  ...mutations('packed-ring.ts', [
    ['the wrap counter is not looked at', '=== (position < this.queue.size ? AVAIL : USED)', '=== AVAIL'],
    ['used flags of the wrong lap', 'this.usedIndex < this.queue.size ? AVAIL | USED : 0', 'AVAIL | USED'],
    [
      'the ID of the first descriptor',
      'chain.id = view.getUint16(at + ID, true)',
      'chain.id ||= view.getUint16(at + ID, true)',
    ],
    ['a used chain takes one slot', '(this.usedIndex + chain.slots) % this.laps', '(this.usedIndex + 1) % this.laps'],
    ['chains go on into unavailable slots', 'if (!this.available(flags, this.next)) throw', 'if (false) throw'],
    ['interrupts in spite of DISABLE', 'return flags !== DISABLE', 'return true'],
    [
      'event offset without its wrap counter',
      '(event & 0x8000 ? 0 : size)\n    return (position',
      '0\n    return (position',
    ],
  ]),
  ...mutations('queue.ts', [
    ['reset keeps the size', 'this.size = this.maxSize\n    this.ready', 'this.ready'],
    ['reset keeps requests alive', 'this.session++', ''],
    ['IN_ORDER is forgotten', 'this.order = features.inOrder ? [] : undefined', 'this.order = undefined'],
  ]),
  ...mutations('chain.ts', [
    [
      'the used length counts past a gap',
      'if (start <= this.written && this.at > this.written)',
      'if (this.at > this.written)',
    ],
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
