/**
 * What makes a LAN usable without a server on it: one address that is its gateway, hands out addresses by DHCP and names
 * by DNS, answers ARP and ping, and says at once that there is no way out where there is none.
 */

import { AddressTable, type Clock, type Lease } from './address-table.ts'
import { ARP, readArp, writeArp } from './arp.ts'
import { BROADCAST_FLAG, DHCP, type DhcpMessage, type DhcpReply, OPTION, readDhcp, writeDhcp } from './dhcp.ts'
import { DNS, type DnsAnswer, type DnsQuery, encodeName, RCODE, readDns, reverseName, writeDns } from './dns.ts'
import {
  BROADCAST_MAC,
  ETHERNET_HEADER,
  ETHERTYPE,
  isGroupMac,
  readEthernet,
  viewOf,
  writeEthernet,
} from './ethernet.ts'
import { echoReply, prohibited } from './icmp.ts'
import { BROADCAST_IP, formatIp, Ipv4Header, type Ipv4Packet, PROTOCOL, parseIp, prefixMask, readIpv4 } from './ipv4.ts'
import { PORT, readUdp, writeUdp } from './udp.ts'

export interface LanSettings {
  /** First address of the network, and how many leading bits name it (16 to 29). */
  readonly network: number
  readonly prefix: number
  /** Address and MAC of the services. The address lies in the network. */
  readonly ip: number
  readonly mac: number
  readonly leaseSeconds: number
  /** Bytes of an IP packet, told to guests by DHCP. */
  readonly mtu: number
  /** One label; a station called `a` is `a.lan`, the services are `gateway.lan`. */
  readonly domain: string
}

export const DEFAULT_LAN: LanSettings = {
  network: 0x0a000200,
  prefix: 24,
  ip: 0x0a000201,
  mac: 0x52550a000201,
  leaseSeconds: 3600,
  mtu: 1500,
  domain: 'lan',
}

/** Who asked: where answers go, and what lies beyond the LAN for it. */
export interface Station {
  send(frame: Uint8Array): void
  /** A frame with a packet for an address that is not of the LAN. Without it the sender is told that this is prohibited. */
  out?(frame: Uint8Array): void
  /** Looks up a name that is not of the LAN; `type` is A or AAAA. Without it such names are refused. */
  resolve?(name: string, type: number): Promise<DnsAnswer>
}

/** Makes addresses unique where several `LanServices` serve one LAN (tabs, machines). */
export interface AddressClaims {
  /**
   * Whether the lease's station may have the address until then; asked again for every renewal. Never fails: a store
   * that cannot be reached grants.
   */
  claim(lease: Lease): boolean | Promise<boolean>
  release?(lease: Lease): void
}

/** How long an address is kept for who was offered it. */
const OFFER_SECONDS = 30
/** How many addresses are tried for one offer. */
const TRIES = 32
/** Addresses one station may hold, those set by hand included. */
const ADDRESSES_PER_STATION = 4
/** Of names of the LAN, in seconds: short, since they move. */
const NAME_TTL = 5

export class LanServices {
  readonly addresses: AddressTable
  readonly #asking = new Set<number>()
  readonly #mask: number
  readonly #last: number

  constructor(
    readonly settings: LanSettings,
    readonly clock: Clock,
    readonly claims: AddressClaims = { claim: () => true },
  ) {
    this.addresses = new AddressTable(clock)
    this.#mask = prefixMask(settings.prefix)
    this.#last = (settings.network | ~this.#mask) >>> 0
  }

  /** Whether an address belongs to the network and can be a station's. */
  isStation(ip: number) {
    const { network, ip: own } = this.settings
    return (ip & this.#mask) >>> 0 === network && ip !== network && ip !== this.#last && ip !== own
  }

  /**
   * Takes a frame that a station sent. `false`: not for the services, the LAN should carry it on. A promise settles when
   * the answer has been sent; it fails only where `claims` or `resolve` do.
   */
  receive(frame: Uint8Array, station: Station): boolean | Promise<void> {
    const header = readEthernet(frame)
    if (!header) return false
    const ours = header.destination === this.settings.mac
    if (!ours && !isGroupMac(header.destination)) return false
    if (header.type === ETHERTYPE.ARP) return this.#arp(frame, station) || ours
    if (header.type === ETHERTYPE.IPV4) return this.#ipv4(frame, header.source, ours, station)
    return ours
  }

  /**
   * Lets a station use an address it did not get from here (set by hand, or from before a restart): whether the address is
   * its own or was free, in which case it is its own from now on.
   */
  admit(ip: number, mac: number): boolean {
    const lease = this.addresses.at(ip)
    if (lease) return lease.mac === mac
    if (!this.isStation(ip) || this.addresses.of(mac).length >= ADDRESSES_PER_STATION) return false
    const claimed = this.#lease(ip, mac, this.settings.leaseSeconds)
    this.addresses.set(claimed)
    const granted = this.claims.claim(claimed)
    if (granted instanceof Promise) granted.then(granted => granted || this.#drop(claimed))
    else if (!granted) this.#drop(claimed)
    return this.addresses.at(ip) === claimed
  }

  /** A station has left: its addresses stay its own for `seconds` more, should it come back. */
  leave(mac: number, seconds = 0) {
    const until = this.clock.now() + seconds * 1000
    for (const lease of this.addresses.of(mac)) {
      if (seconds === 0) this.#giveBack(lease)
      else if (lease.until > until) this.addresses.set({ ...lease, until })
    }
  }

  #arp(frame: Uint8Array, station: Station) {
    const { ip, mac } = this.settings
    const arp = readArp(frame)
    if (!arp || arp.operation !== ARP.REQUEST || arp.targetIp !== ip) return false
    const ends = { senderMac: mac, senderIp: ip, targetMac: arp.senderMac, targetIp: arp.senderIp }
    station.send(writeArp(ARP.REPLY, ends))
    return true
  }

  #ipv4(frame: Uint8Array, source: number, ours: boolean, station: Station): boolean | Promise<void> {
    if (frame.length < ETHERNET_HEADER + Ipv4Header.size) return ours
    const { destination } = new Ipv4Header(viewOf(frame), ETHERNET_HEADER)
    const inside = (destination & this.#mask) >>> 0 === this.settings.network
    if (ours && !inside && destination !== BROADCAST_IP) return this.#beyond(frame, source, station)
    const packet = readIpv4(frame.subarray(ETHERNET_HEADER))
    if (!packet) return ours
    const datagram = packet.header.protocol === PROTOCOL.UDP ? readUdp(packet.payload) : undefined
    if (datagram?.header.destination === PORT.DHCP_SERVER) {
      const message = readDhcp(datagram.payload)
      return message ? this.#dhcp(message, source, station) : true
    }
    if (!ours || destination !== this.settings.ip) return ours
    const pong = echoReply(packet)
    if (pong) this.#send(station, source, pong)
    const query = datagram?.header.destination === PORT.DNS ? readDns(datagram.payload) : undefined
    if (!query) return true
    const asker = { ip: packet.header.source, port: datagram!.header.source }
    return this.#dns(query, station).then(answer => {
      const from = { ip: this.settings.ip, port: PORT.DNS }
      this.#send(station, source, writeUdp(from, asker, writeDns(query, answer)))
    })
  }

  #beyond(frame: Uint8Array, source: number, station: Station) {
    if (station.out) station.out(frame)
    else {
      const packet: Ipv4Packet | undefined = readIpv4(frame.subarray(ETHERNET_HEADER))
      const error = packet && prohibited(this.settings.ip, packet)
      if (error) this.#send(station, source, error)
    }
    return true
  }

  #send(station: Station, mac: number, packet: Uint8Array) {
    station.send(writeEthernet(mac, this.settings.mac, ETHERTYPE.IPV4, packet))
  }

  // ---- addresses ----

  async #dhcp(message: DhcpMessage, mac: number, station: Station) {
    // A client repeats itself while it waits: one answer at a time.
    if (this.#asking.has(mac)) return
    this.#asking.add(mac)
    try {
      const reply = await this.#dhcpReply(message)
      if (reply) this.#sendDhcp(message, reply, mac, station)
    } finally {
      this.#asking.delete(mac)
    }
  }

  async #dhcpReply(message: DhcpMessage): Promise<DhcpReply | undefined> {
    const { ip: server, leaseSeconds } = this.settings
    const { clientMac: mac, clientIp } = message.header
    const addressed = message.server === undefined || message.server === server
    switch (message.type) {
      case DHCP.DISCOVER: {
        const lease = await this.#offer(message, mac)
        return lease && { type: DHCP.OFFER, yourIp: lease.ip, options: this.#options(true) }
      }
      case DHCP.REQUEST: {
        if (!addressed) return undefined
        const wanted = message.requestedIp ?? clientIp
        const lease = this.#lease(wanted, mac, leaseSeconds, message.hostName)
        if (!(await this.#grant(lease))) return { type: DHCP.NAK, options: [[OPTION.SERVER, ipBytes(server)]] }
        // One address by DHCP for each station, so that none can take them all.
        for (const other of this.addresses.of(mac)) if (other.ip !== wanted) this.#giveBack(other)
        return { type: DHCP.ACK, yourIp: wanted, options: this.#options(true) }
      }
      case DHCP.INFORM:
        return { type: DHCP.ACK, options: this.#options(false) }
      case DHCP.RELEASE: {
        const lease = this.addresses.at(clientIp)
        if (lease?.mac === mac) this.#giveBack(lease)
        return undefined
      }
      case DHCP.DECLINE: {
        const lease = message.requestedIp === undefined ? undefined : this.addresses.at(message.requestedIp)
        // Somebody else uses it: kept from everybody for a while.
        if (lease?.mac === mac) this.addresses.set(this.#lease(lease.ip, BROADCAST_MAC, leaseSeconds))
        return undefined
      }
    }
    return undefined
  }

  async #offer(message: DhcpMessage, mac: number) {
    let tries = 0
    for (const ip of this.#candidates(mac, message.requestedIp)) {
      if (!this.isStation(ip) || !this.#mayHave(ip, mac)) continue
      const lease = this.#lease(ip, mac, OFFER_SECONDS, message.hostName)
      if (await this.#grant(lease)) return lease
      if (++tries === TRIES) break
    }
    return undefined
  }

  *#candidates(mac: number, requested?: number) {
    for (const { ip } of this.addresses.of(mac)) yield ip
    if (requested !== undefined) yield requested
    const { network } = this.settings
    const stations = this.#last - network - 1
    // Where the search begins depends on the station alone, so it tends to get the same address again.
    const start = (mac % 0xfffffffb) % stations
    for (let i = 0; i < stations; i++) yield network + 1 + ((start + i) % stations)
  }

  #mayHave(ip: number, mac: number) {
    const lease = this.addresses.at(ip)
    return !lease || lease.mac === mac
  }

  async #grant(lease: Lease) {
    if (!this.isStation(lease.ip) || !this.#mayHave(lease.ip, lease.mac)) return false
    const before = this.addresses.at(lease.ip)
    const longer = before && before.until > lease.until ? { ...lease, until: before.until } : lease
    // Set before the answer comes, so that no other station is offered it meanwhile.
    this.addresses.set(longer)
    if (await this.claims.claim(longer)) return true
    this.#drop(longer)
    return false
  }

  #lease(ip: number, mac: number, seconds: number, hostName?: string): Lease {
    const wanted = hostName && stationName(hostName)
    const holder = wanted && wanted !== GATEWAY_NAME ? this.addresses.named(wanted) : undefined
    const name = wanted && wanted !== GATEWAY_NAME && (!holder || holder.mac === mac) ? wanted : undefined
    return { ip, mac, until: this.clock.now() + seconds * 1000, ...(name && { name }) }
  }

  #giveBack(lease: Lease) {
    this.#drop(lease)
    this.claims.release?.(lease)
  }

  #drop(lease: Lease) {
    if (this.addresses.at(lease.ip) === lease) this.addresses.release(lease.ip)
  }

  #options(lease: boolean): DhcpReply['options'] {
    const { ip, leaseSeconds, domain, mtu } = this.settings
    return [
      [OPTION.SERVER, ipBytes(ip)],
      ...(lease ? [[OPTION.LEASE_TIME, ipBytes(leaseSeconds)] as const] : []),
      [OPTION.SUBNET_MASK, ipBytes(this.#mask)],
      [OPTION.ROUTER, ipBytes(ip)],
      [OPTION.DNS, ipBytes(ip)],
      [OPTION.DOMAIN_NAME, Uint8Array.from(domain, c => c.charCodeAt(0))],
      [OPTION.MTU, ipBytes(mtu).subarray(2)],
    ]
  }

  #sendDhcp(message: DhcpMessage, reply: DhcpReply, mac: number, station: Station) {
    const { clientIp, flags } = message.header
    const broadcast = reply.type === DHCP.NAK || (!clientIp && (flags & BROADCAST_FLAG) !== 0)
    const ip = broadcast ? BROADCAST_IP : clientIp || reply.yourIp || BROADCAST_IP
    const from = { ip: this.settings.ip, port: PORT.DHCP_SERVER }
    const packet = writeUdp(from, { ip, port: PORT.DHCP_CLIENT }, writeDhcp(message, reply))
    this.#send(station, broadcast ? BROADCAST_MAC : mac, packet)
  }

  // ---- names ----

  async #dns(query: DnsQuery, station: Station): Promise<DnsAnswer> {
    const { name, type } = query
    const { domain } = this.settings
    const reverse = reverseName(name)
    const asked = reverse === undefined ? undefined : parseIp(reverse)
    if (asked !== undefined && (this.isStation(asked) || asked === this.settings.ip)) {
      const known = this.#nameOf(asked)
      if (!known) return { rcode: RCODE.NAME, authoritative: true }
      return own(type === DNS.PTR ? [{ type: DNS.PTR, ttl: NAME_TTL, data: encodeName(`${known}.${domain}`) }] : [])
    }
    if (name.endsWith(`.${domain}`) || !name.includes('.')) {
      const ip = this.#ipOf(name.includes('.') ? name.slice(0, -domain.length - 1) : name)
      if (ip === undefined) return { rcode: RCODE.NAME, authoritative: true }
      return own(type === DNS.A || type === DNS.ANY ? [{ type: DNS.A, ttl: NAME_TTL, data: ipBytes(ip) }] : [])
    }
    if (!station.resolve) return { rcode: RCODE.REFUSED }
    if (type !== DNS.A && type !== DNS.AAAA) return { rcode: RCODE.NOT_IMPLEMENTED }
    return station.resolve(name, type)
  }

  #ipOf(name: string) {
    return name === GATEWAY_NAME ? this.settings.ip : this.addresses.named(name)?.ip
  }

  #nameOf(ip: number) {
    return ip === this.settings.ip ? GATEWAY_NAME : this.addresses.at(ip)?.name
  }
}

const GATEWAY_NAME = 'gateway'

const own = (records: DnsAnswer['records']): DnsAnswer => ({ rcode: RCODE.OK, authoritative: true, records })

/** A 32-bit number in network order. */
export const ipBytes = (ip: number) => Uint8Array.of(ip >>> 24, ip >>> 16, ip >>> 8, ip)

/** The first label of what a guest calls itself, where it can be a name. */
export function stationName(hostName: string): string | undefined {
  const label = hostName.replace(/\0+$/, '').split('.')[0]!.toLowerCase()
  return /^[a-z\d]([a-z\d-]{0,61}[a-z\d])?$/.test(label) ? label : undefined
}

/** `10.0.2.0/24`, for people. */
export const formatNetwork = ({ network, prefix }: Pick<LanSettings, 'network' | 'prefix'>) =>
  `${formatIp(network)}/${prefix}`
