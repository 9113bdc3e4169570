/** A LAN without a server: the devices of this worker on a switch, with the other tabs behind one of its ports. */

import type { NetBackend, NetPort } from '../../src/devices/net-backend.ts'
import { DEFAULT_LAN, LanServices, type LanSettings } from '../../src/net/lan-services.ts'
import { Switch } from '../../src/net/switch.ts'
import { LanTrunk } from './lan-trunk.ts'

export interface LanOptions {
  /** LANs with the same name are the same. */
  readonly segment?: string
  readonly settings?: Partial<LanSettings>
  /** Whether other tabs take part. */
  readonly shared?: boolean
}

/** One segment, for as long as a device is on it. */
export class Lan {
  readonly services: LanServices
  private readonly lan = new Switch()
  private readonly trunk: LanTrunk | undefined
  private members = 0

  constructor(
    readonly segment: string,
    { settings, shared = true }: LanOptions = {},
    private readonly empty = () => {},
  ) {
    const clock = { now: () => performance.now() }
    this.trunk = shared ? new LanTrunk(segment, clock) : undefined
    this.services = new LanServices({ ...DEFAULT_LAN, ...settings }, clock, this.trunk?.claims)
    this.trunk?.open(this.lan, this.services.addresses)
  }

  private static readonly open = new Map<string, Lan>()

  /** The segment of that name, made if there is none yet. */
  static named(options: LanOptions = {}): Lan {
    const { segment = 'default' } = options
    let lan = Lan.open.get(segment)
    if (!lan) Lan.open.set(segment, (lan = new Lan(segment, options, () => Lan.open.delete(segment))))
    return lan
  }

  /** Other tabs on the segment. */
  get peers() {
    return this.trunk?.peers ?? 0
  }

  /** Frames lost because a tab did not keep up. */
  get dropped() {
    return this.trunk?.dropped ?? 0
  }

  /** A socket of the switch. */
  attach(): NetBackend {
    let guest: NetPort | undefined
    const socket = this.lan.attach({ send: (frame, offload) => guest?.receive(frame, offload) })
    const station = { send: (frame: Uint8Array) => guest?.receive(frame) }
    this.members++
    return {
      offloads: true,
      connect: port => {
        guest = port
      },
      send: (frame, offload) => {
        const taken = this.services.receive(frame, station)
        if (taken === false) socket.receive(frame, offload)
      },
      close: () => {
        guest = undefined
        socket.detach()
        if (--this.members > 0) return
        this.trunk?.close()
        this.empty()
      },
    }
  }
}
