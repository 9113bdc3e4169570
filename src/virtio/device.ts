import type { Struct } from './layout.ts'
import type { Virtqueue } from './queue.ts'

/** Everything about a device type that is the same for every instance; the inspector and the docs read it too. */
export interface DeviceSpec {
  /** §5: the device ID. */
  readonly id: number
  readonly name: string
  /** Its section in the specification, or what stands in for one. */
  readonly section: string
  /** Queue names in the specification's order. Instances with more queues say so themselves. */
  readonly queues: readonly string[]
  /** Bit numbers by the specification's names, without the prefix VIRTIO_x_F_. */
  readonly features: Readonly<Record<string, number>>
  /** Offered bits that need another offered (and accepted) bit: [bit, what it needs, or else needs, …]. */
  readonly needs?: readonly (readonly [number, ...number[]])[]
  /** The configuration space; only `writable` fields take what the driver writes. */
  readonly config?: Struct
  /** The device cannot be driven through a legacy interface: its Linux driver demands VERSION_1. */
  readonly modernOnly?: boolean
}

/** What a device gets when the driver says DRIVER_OK, and loses at reset. */
export interface Driver {
  /** All queues, in order, also those the driver left unused. */
  readonly queues: readonly Virtqueue[]
  /** Whether a feature was negotiated. */
  accepted(feature: number): boolean
}

export interface VirtioDevice {
  readonly spec: DeviceSpec
  /** Device feature bits this instance offers. */
  readonly offers: readonly number[]
  /** Names of this instance's queues, where they differ from the spec's. */
  readonly queues?: readonly string[]
  /** Largest size of each queue: 256 if absent. A power of two. */
  readonly queueSize?: number
  /** Live bytes of the configuration space. */
  readonly config?: Uint8Array
  /** Set by the core. The device calls it after it changed `config`, and the driver is told. */
  configChanged?: () => void
  /** DRIVER_OK, or the first use by a legacy driver. */
  activate?(driver: Driver): void
  /** The driver put chains in this queue. Work that outlives the call is returned, so that its failures are seen. */
  kick(queue: Virtqueue): void | Promise<unknown>
  /** The driver wrote these bytes of the configuration space; read-only ones were left out. */
  configWritten?(offset: number, length: number): void
  /** The driver let go: forget all it said. Chains still held complete into nothing. */
  reset?(): void
}
