import { Entropy } from '../devices/entropy.ts'
import { ANY, type BusDevice, type VirtioDriver } from './bus.ts'
import type { Buffer, DriverQueue } from './queue.ts'
import type { Steps } from './steps.ts'

/** virtio-rng's driver: asks for random bytes, one buffer at a time. */
export class EntropyDriver implements VirtioDriver {
  readonly name = 'virtio_rng'
  readonly ids = [{ device: Entropy.id, vendor: ANY }]
  readonly features = []
  /** Bytes the device has delivered and nobody took yet. */
  readonly received: Uint8Array[] = []
  private queue: DriverQueue<Buffer> | undefined
  private device: BusDevice | undefined;

  *probe(device: BusDevice): Steps {
    this.device = device
    const queue = yield* device.findQueue<Buffer>(0)
    this.queue = queue
    queue.callback = () => this.collect()
  }

  *remove({ arena }: BusDevice): Steps {
    for (const { address, length } of this.queue?.ring.detach() ?? []) arena.release(address, length)
    this.queue = undefined
  }

  /** Offers the device a buffer of so many bytes; what comes is in `received` after the interrupt. */
  *request(length: number): Steps {
    const { queue, device } = this
    if (!queue || !device) throw new Error('the entropy driver has no device')
    const address = device.arena.allocate(length)
    const buffer = { address, length }
    if (!queue.add([], [buffer], buffer)) throw new RangeError('the queue is full')
    yield* queue.kick()
  }

  private *collect(): Steps {
    const { arena } = this.device!
    for (const { token, length } of this.queue?.drain() ?? []) {
      this.received.push(arena.memory.slice(token.address, length).slice())
      arena.release(token.address, token.length)
    }
  }
}
