/**
 * Port security: what a station that nobody trusts may put on a LAN. It has one MAC address, speaks only for addresses that
 * are its own, and never poses as the gateway. What could smuggle any of that past these checks (VLAN tags, IPv6 with its
 * neighbour discovery and extension headers, other protocols) is refused as a whole.
 */

import { readArp } from './arp.ts'
import { DhcpHeader } from './dhcp.ts'
import { ETHERNET_HEADER, ETHERTYPE, isGroupMac, readEthernet, viewOf } from './ethernet.ts'
import { Ipv4Header, PROTOCOL } from './ipv4.ts'
import type { LanServices } from './lan-services.ts'
import { PORT, UdpHeader } from './udp.ts'

export const REFUSALS = {
  runt: 'shorter than an Ethernet header and the header after it',
  oversize: 'longer than the MTU allows',
  mac: "from a MAC address that is not this station's",
  ethertype: 'neither IPv4 nor ARP',
  arp: "claims an address that is somebody else's by ARP",
  dhcp: 'poses as a DHCP server',
  address: "from an IPv4 address that is not this station's",
  ipv6: 'IPv6, which is not carried',
} as const
export type Refusal = keyof typeof REFUSALS

export class PortGuard {
  /**
   * `mac` is the station's only address; without it the first frame says, if `bind` agrees that nobody else has it.
   */
  constructor(
    readonly services: LanServices,
    public mac: number | undefined,
    readonly bind: (mac: number) => boolean = () => true,
  ) {}

  /** Why a frame of the station may not enter the LAN; nothing where it may. */
  refuse(frame: Uint8Array): Refusal | undefined {
    const header = readEthernet(frame)
    if (!header) return 'runt'
    if (frame.length > ETHERNET_HEADER + this.services.settings.mtu) return 'oversize'
    const { source, type } = header
    if (source !== this.mac) {
      if (this.mac !== undefined || isGroupMac(source) || source === this.services.settings.mac) return 'mac'
      if (!this.bind(source)) return 'mac'
      this.mac = source
    }
    if (type === ETHERTYPE.IPV4) return this.#ipv4(frame, source)
    if (type === ETHERTYPE.ARP) return this.#arp(frame, source)
    return type === ETHERTYPE.IPV6 ? 'ipv6' : 'ethertype'
  }

  #ipv4(frame: Uint8Array, mac: number): Refusal | undefined {
    if (frame.length < ETHERNET_HEADER + Ipv4Header.size) return 'runt'
    const packet = new Ipv4Header(viewOf(frame), ETHERNET_HEADER)
    const { source, protocol } = packet
    if (protocol === PROTOCOL.UDP) {
      const at = ETHERNET_HEADER + (packet.version & 15) * 4
      const first = (packet.fragment & 0x1fff) === 0
      if (first && frame.length < at + UdpHeader.size) return 'runt'
      const udp = new UdpHeader(viewOf(frame), at)
      if (first && udp.source === PORT.DHCP_SERVER) return 'dhcp'
      if (first && udp.destination === PORT.DHCP_SERVER) {
        if (!asksForItself(frame, at + UdpHeader.size, mac)) return 'dhcp'
        // Who asks has no address yet.
        if (source === 0) return undefined
      }
    }
    return this.services.admit(source, mac) ? undefined : 'address'
  }

  #arp(frame: Uint8Array, mac: number): Refusal | undefined {
    const arp = readArp(frame)
    if (!arp) return 'runt'
    if (arp.senderMac !== mac) return 'arp'
    // A probe (RFC 5227) speaks for no address yet.
    return arp.senderIp === 0 || this.services.admit(arp.senderIp, mac) ? undefined : 'arp'
  }
}

/** Whether a DHCP client speaks for its own MAC: else it could take or give back the address of another. */
const asksForItself = (frame: Uint8Array, at: number, mac: number) =>
  frame.length >= at + DhcpHeader.size && new DhcpHeader(viewOf(frame), at).clientMac === mac
