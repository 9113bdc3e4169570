import type { VirtioDevice } from '../../src/virtio/device.ts'
import type { Virtqueue } from '../../src/virtio/queue.ts'

/** Completes whatever comes. Every build has a copy, so that none is slowed down by another's types. */
export class Sink implements VirtioDevice {
  readonly spec = { id: 4, name: 'sink', section: 'none', queues: ['requestq'], features: {} }
  readonly offers = []
  constructor(readonly queueSize: number) {}

  kick(queue: Virtqueue) {
    for (const chain of queue) chain.complete()
  }
}
