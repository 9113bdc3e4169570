import type { DeviceSpec, VirtioDevice } from '../virtio/device.ts'
import type { Virtqueue } from '../virtio/queue.ts'

export const Entropy = {
  id: 4,
  name: 'entropy',
  section: '5.4',
  queues: ['requestq'],
  features: {},
} as const satisfies DeviceSpec

/** Where randomness comes from. Fills all of `target`, at most 65,536 bytes, in place. */
export interface EntropySource {
  fill(target: Uint8Array<ArrayBuffer>): void
}

/** What one request gets at most, in bytes, however large its buffers: the driver asks again. */
const LARGEST = 65536

/** virtio-rng: fills the driver's buffers with random bytes. */
export class EntropyDevice implements VirtioDevice {
  readonly spec = Entropy
  readonly offers = []
  readonly queueSize = 64

  constructor(private readonly source: EntropySource) {}

  kick(queue: Virtqueue) {
    for (const chain of queue) {
      chain.writer.pieces(Math.min(chain.writer.length, LARGEST), piece => this.source.fill(piece))
      chain.complete()
    }
  }
}
