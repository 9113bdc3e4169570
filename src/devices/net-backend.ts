/** What a network device is plugged into. Frames are whole Ethernet frames without the FCS. */

import type { Offload } from '../net/checksum.ts'

/** The device's side of the cable. */
export interface NetPort {
  /**
   * A frame for the guest. It is kept until the guest takes it: nobody may write to it any more. Where the guest has no
   * room it is held, within bounds, and dropped beyond them.
   */
  receive(frame: Uint8Array, offload?: Offload): void
  /** Whether the cable is connected to anything; it is until the backend says otherwise. */
  link(up: boolean): void
}

export interface NetBackend {
  /**
   * A frame from the guest, the backend's own from now on, though it may not write to it. Never waits: what cannot be
   * carried is lost, as on any Ethernet, and counted by the backend.
   */
  send(frame: Uint8Array, offload?: Offload): void
  /** It takes frames that lack their checksum or are to be cut. Absent: it is given finished frames only. */
  readonly offloads?: boolean
  /** Called by a device before it sends anything; what was connected before gets nothing any more. */
  connect(port: NetPort): void
  /** Lets go of connections and timers. Nothing is called after it. */
  close?(): void
}

/** A cable between two devices, for tests and for two guests in one place. */
export function cable({ offloads = true } = {}): readonly [NetBackend, NetBackend] {
  const ports: (NetPort | undefined)[] = []
  const end = (own: number): NetBackend => ({
    offloads,
    connect: port => void (ports[own] = port),
    send: (frame, offload) => ports[1 - own]?.receive(frame, offload),
  })
  return [end(0), end(1)]
}
