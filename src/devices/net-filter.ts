import { BROADCAST_MAC, ETHERNET_HEADER, ETHERTYPE, isGroupMac, readEthernet, viewOf } from '../net/ethernet.ts'

/** Addresses kept of a table; a driver that lists more is given everything of that kind. */
export const TABLE_LIMIT = 256

/** Which frames a driver wants (§5.1.6.5.1–3). Until it says so: all. */
export class ReceiveFilter {
  promiscuous = true
  allMulticast = false
  allUnicast = false
  noMulticast = false
  noUnicast = false
  noBroadcast = false
  /** The device filters VLANs: the driver lists those it wants. */
  vlans: Set<number> | undefined
  private unicast: ReadonlySet<number> | undefined = new Set()
  private multicast: ReadonlySet<number> | undefined = new Set()

  /** Replaces both tables. */
  setTables(unicast: readonly number[], multicast: readonly number[]) {
    this.unicast = unicast.length > TABLE_LIMIT ? undefined : new Set(unicast)
    this.multicast = multicast.length > TABLE_LIMIT ? undefined : new Set(multicast)
  }

  /** `own` is the device's own address. */
  accepts(frame: Uint8Array, own: number): boolean {
    if (this.promiscuous) return true
    const { destination, type } = readEthernet(frame)!
    if (this.vlans && type === ETHERTYPE.VLAN && !this.vlans.has(tag(frame))) return false
    if (destination === BROADCAST_MAC) return !this.noBroadcast
    if (isGroupMac(destination)) {
      return !this.noMulticast && (this.allMulticast || (this.multicast?.has(destination) ?? true))
    }
    if (this.noUnicast) return false
    return this.allUnicast || destination === own || (this.unicast?.has(destination) ?? true)
  }
}

const tag = (frame: Uint8Array) =>
  frame.length < ETHERNET_HEADER + 2 ? 0 : viewOf(frame).getUint16(ETHERNET_HEADER) & 0xfff
