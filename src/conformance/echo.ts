import type { Chain } from '../virtio/chain.ts'
import type { DeviceSpec, Driver, VirtioDevice } from '../virtio/device.ts'
import { le16, le32, le64, struct, u8, writable } from '../virtio/layout.ts'
import type { Virtqueue } from '../virtio/queue.ts'

export const EchoConfig = struct('echo_config', 'none', {
  wide: le64('a 64-bit value'),
  word: le32(),
  half: le16(),
  byte: u8(),
  pad: u8(),
  open: writable(le32('the driver may write this')),
})

/** A device for the suite alone: it has what is needed to make every rule of the core visible. */
export const Echo = {
  // ioMemory: a type that nobody ever wrote a driver for.
  id: 6,
  name: 'echo',
  section: 'none',
  queues: ['first', 'second'],
  features: { BASE: 0, NEEDS_BASE: 1 },
  needs: [[1, 0]],
  config: EchoConfig,
} as const satisfies DeviceSpec

export class EchoDevice implements VirtioDevice {
  readonly spec = Echo
  readonly offers = [Echo.features.BASE, Echo.features.NEEDS_BASE]
  readonly config = EchoConfig.bytes({ wide: 2 ** 33 + 5, word: 0x11223344, half: 0x5566, byte: 0x77 })
  readonly values = new EchoConfig(new DataView(this.config.buffer))
  configChanged?: () => void
  driver: Driver | undefined
  /** While true, requests are kept until `answer`. */
  hold = false
  readonly held: Chain[] = []
  /** What each request carried, in order. */
  readonly seen: Uint8Array[] = []
  readonly kicks: number[] = []
  readonly configWrites: [number, number][] = []
  resets = 0

  constructor(readonly queueSize = 64) {}

  activate(driver: Driver) {
    this.driver = driver
  }
  reset() {
    this.driver = undefined
    this.resets++
  }
  configWritten(offset: number, length: number) {
    this.configWrites.push([offset, length])
  }
  kick(queue: Virtqueue) {
    this.kicks.push(queue.index)
    for (const chain of queue) {
      if (this.hold) this.held.push(chain)
      else this.answer(chain)
    }
  }
  /** What came in goes out, as far as there is room. */
  answer(chain: Chain) {
    const bytes = chain.reader.bytes()
    this.seen.push(bytes)
    chain.writer.bytes(bytes.subarray(0, chain.writer.left))
    chain.complete()
  }
}
