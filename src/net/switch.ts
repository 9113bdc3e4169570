/** A learning Ethernet switch. Frames are whole, without FCS, and nobody writes to one that was handed over: it may be kept. */

import type { Offload } from './checksum.ts'
import { isGroupMac, readEthernet } from './ethernet.ts'

/** Where the switch sends what leaves by a port. */
export interface FrameSink {
  /** `offload` is what the frame still lacks, on a switch whose ports all take such. */
  send(frame: Uint8Array, offload?: Offload): void
}

export interface PortOptions {
  /** Also gets frames for addresses nobody has been heard from (the default), as a port with stations behind it must. */
  readonly unknown?: boolean
}

export class Switch {
  readonly #ports = new Set<SwitchPort>()
  readonly #table = new Map<number, SwitchPort>()

  /** `capacity`: addresses remembered; beyond it the one learned first is forgotten. */
  constructor(readonly capacity = 4096) {}

  /** A new port. Frames go in by its `receive`, and come out by `sink.send`. */
  attach(sink: FrameSink, { unknown = true }: PortOptions = {}): SwitchPort {
    const port = new SwitchPort(this, sink, unknown)
    this.#ports.add(port)
    return port
  }

  detach(port: SwitchPort) {
    this.#ports.delete(port)
    for (const [mac, owner] of this.#table) if (owner === port) this.#table.delete(mac)
  }

  get size() {
    return this.#ports.size
  }

  /** Behind which port an address was last heard. */
  lookup(mac: number) {
    return this.#table.get(mac)
  }

  /** Says that `mac` is behind `port`, as a frame from it would. */
  learn(mac: number, port: SwitchPort) {
    if (this.#table.get(mac) === port || isGroupMac(mac) || !this.#ports.has(port)) return
    this.#table.delete(mac)
    if (this.#table.size >= this.capacity) this.#table.delete(this.#table.keys().next().value!)
    this.#table.set(mac, port)
  }

  /** Sends a frame wherever it belongs, but never back to `from`. */
  forward(frame: Uint8Array, from?: SwitchPort, offload?: Offload) {
    const header = readEthernet(frame)
    if (!header) return
    const { destination } = header
    const known = this.#table.get(destination)
    if (known) {
      if (known !== from) known.sink.send(frame, offload)
      return
    }
    const group = isGroupMac(destination)
    for (const port of this.#ports) if (port !== from && (group || port.unknown)) port.sink.send(frame, offload)
  }
}

export class SwitchPort {
  constructor(
    readonly lan: Switch,
    readonly sink: FrameSink,
    /** Whether it gets frames for addresses nobody has been heard from; may change. */
    public unknown: boolean,
  ) {}

  /** A frame came in by this port. */
  receive(frame: Uint8Array, offload?: Offload) {
    const header = readEthernet(frame)
    if (!header) return
    this.lan.learn(header.source, this)
    this.lan.forward(frame, this, offload)
  }

  /** Nothing is sent to it any more, and what was learned behind it is forgotten. */
  detach() {
    this.lan.detach(this)
  }
}
