/** One LAN: a switch, its services, and who is on it. */

import type { Clock } from '../src/net/address-table.ts'
import { type AddressClaims, LanServices, type LanSettings } from '../src/net/lan-services.ts'
import { Switch, type SwitchPort } from '../src/net/switch.ts'

/** Somebody with a MAC address in the room. */
export interface Member {
  /** Another connection has this one's MAC address from now on; say why and go. */
  replaced(why: string): void
}

/** The rest of a room that is on other machines. */
export interface Uplink {
  /** Where frames go that may have receivers elsewhere. */
  send(frame: Uint8Array): void
  readonly claims: AddressClaims
  /** Whether a MAC address may be used here; frames for it come here from then on. `firm`: even if it is used elsewhere. */
  hold(mac: number, firm: boolean): Promise<boolean>
  release(mac: number): void
  close(): void
}

/** How long the address of a client that left waits for it. */
const GRACE_SECONDS = 60

export class Room {
  /** Every member has one address, so it cannot fill up. */
  readonly lan = new Switch(Number.POSITIVE_INFINITY)
  readonly services: LanServices
  readonly #members = new Map<number, Member>()
  readonly #uplink: Uplink | undefined
  readonly #uplinkPort: SwitchPort | undefined
  /** Connections, whether or not they have a MAC address yet. */
  size = 0

  /** `connect` joins the room to its parts elsewhere. */
  constructor(
    readonly name: string,
    settings: LanSettings,
    clock: Clock,
    connect?: (room: Room) => Uplink,
  ) {
    this.#uplink = connect?.(this)
    this.services = new LanServices(settings, clock, this.#uplink?.claims)
    this.#uplinkPort = this.#uplink && this.lan.attach(this.#uplink)
  }

  /**
   * Gives a MAC address to a member: `true` or `false` at once, or a promise where other machines have to agree. `firm`: it
   * is the member's by its token, so an older connection has to go.
   */
  hold(mac: number, member: Member, firm: boolean): boolean | Promise<boolean> {
    const holder = this.#members.get(mac)
    if (holder && holder !== member) {
      if (!firm) return false
      holder.replaced('a newer connection has the same MAC address by its token')
    }
    this.#members.set(mac, member)
    if (!this.#uplink) return true
    return this.#uplink.hold(mac, firm).then(granted => {
      if (this.#members.get(mac) !== member) return false
      if (!granted) this.#members.delete(mac)
      return granted
    })
  }

  release(mac: number, member: Member) {
    if (this.#members.get(mac) !== member) return
    this.#members.delete(mac)
    this.services.leave(mac, GRACE_SECONDS)
    this.#uplink?.release(mac)
  }

  holder(mac: number) {
    return this.#members.get(mac)
  }

  /** Whether parts of it may be on other machines. */
  get federated() {
    return this.#uplink !== undefined
  }

  /** A frame from another machine: only for those who are here. */
  fromElsewhere(frame: Uint8Array) {
    this.lan.forward(frame, this.#uplinkPort)
  }

  close() {
    this.#uplink?.close()
  }
}
