/** The frames of a guest, reduced to what tests of a LAN need to say and to read. */

import dnsPacket from 'dns-packet'
import { ARP, readArp, writeArp } from '../../src/net/arp.ts'
import { DHCP, DhcpHeader, OPTION } from '../../src/net/dhcp.ts'
import { BROADCAST_MAC, ETHERNET_HEADER, ETHERTYPE, readEthernet, writeEthernet } from '../../src/net/ethernet.ts'
import { IcmpHeader } from '../../src/net/icmp.ts'
import { BROADCAST_IP, internetChecksum, PROTOCOL, readIpv4, writeIpv4 } from '../../src/net/ipv4.ts'
import { DEFAULT_LAN } from '../../src/net/lan-services.ts'
import { PORT, readUdp, writeUdp } from '../../src/net/udp.ts'

export const GATEWAY = { ip: DEFAULT_LAN.ip, mac: DEFAULT_LAN.mac }

const bytesOf = (ip: number) => [ip >>> 24, (ip >>> 16) & 255, (ip >>> 8) & 255, ip & 255]
const asciiOf = (text: string) => [...text].map(c => c.charCodeAt(0))

export interface Ask {
  readonly type: number
  readonly mac: number
  /** Differs from `mac` in an attack. */
  readonly clientMac?: number
  readonly requestedIp?: number
  readonly server?: number
  readonly hostName?: string
  readonly clientIp?: number
}

export function dhcpFrame({ type, mac, clientMac = mac, requestedIp, server, hostName, clientIp = 0 }: Ask) {
  const kind = { operation: 1, hardware: 1, hardwareSize: 6, cookie: 0x63825363, transaction: 0x1234 }
  const options = [OPTION.MESSAGE_TYPE, 1, type]
  if (requestedIp !== undefined) options.push(OPTION.REQUESTED_IP, 4, ...bytesOf(requestedIp))
  if (server !== undefined) options.push(OPTION.SERVER, 4, ...bytesOf(server))
  if (hostName !== undefined) options.push(OPTION.HOST_NAME, hostName.length, ...asciiOf(hostName))
  const message = new Uint8Array(DhcpHeader.size + options.length + 1)
  message.set(DhcpHeader.bytes({ ...kind, clientMac, clientIp }))
  message.set([...options, OPTION.END], DhcpHeader.size)
  const from = { ip: clientIp, port: PORT.DHCP_CLIENT }
  const packet = writeUdp(from, { ip: BROADCAST_IP, port: PORT.DHCP_SERVER }, message)
  return writeEthernet(BROADCAST_MAC, mac, ETHERTYPE.IPV4, packet)
}

/** What a DHCP server said, read without the code under test. */
export function readDhcpReply(frame: Uint8Array) {
  const udp = udpIn(frame)
  if (udp?.header.source !== PORT.DHCP_SERVER) return undefined
  const view = new DataView(udp.payload.buffer, udp.payload.byteOffset, udp.payload.length)
  const options = new Map<number, number[]>()
  for (let at = 240; udp.payload[at] !== 255; at += 2 + udp.payload[at + 1]!)
    options.set(udp.payload[at]!, [...udp.payload.subarray(at + 2, at + 2 + udp.payload[at + 1]!)])
  return { type: options.get(53)![0]!, ip: view.getUint32(16), options }
}

export const arpRequest = (mac: number, ip: number, targetIp: number) =>
  writeArp(ARP.REQUEST, { senderMac: mac, senderIp: ip, targetMac: 0, targetIp })

export const arpReply = (mac: number, ip: number, targetMac: number, targetIp: number) =>
  writeArp(ARP.REPLY, { senderMac: mac, senderIp: ip, targetMac, targetIp })

export interface End {
  readonly mac: number
  readonly ip: number
}

export function pingFrame(from: End, to: End, length = 56) {
  const bytes = new Uint8Array(IcmpHeader.size + length).fill(0x61)
  bytes.set(IcmpHeader.bytes({ type: 8, rest: 0x10001 }))
  const sum = internetChecksum(bytes)
  bytes[2] = sum >> 8
  bytes[3] = sum & 255
  return writeEthernet(to.mac, from.mac, ETHERTYPE.IPV4, writeIpv4(from.ip, to.ip, PROTOCOL.ICMP, bytes))
}

export function udpFrame(from: End & { port: number }, to: End & { port: number }, payload: Uint8Array) {
  return writeEthernet(to.mac, from.mac, ETHERTYPE.IPV4, writeUdp(from, to, payload))
}

export function dnsFrame(from: End, name: string, type: dnsPacket.RecordType = 'A', to: End = GATEWAY) {
  const query = dnsPacket.encode({
    type: 'query',
    id: 77,
    flags: dnsPacket.RECURSION_DESIRED,
    questions: [{ type, name }],
  })
  return udpFrame({ ...from, port: 40000 }, { ...to, port: PORT.DNS }, query)
}

export function readDnsReply(frame: Uint8Array) {
  const udp = udpIn(frame)
  return udp?.header.source === PORT.DNS ? dnsPacket.decode(Buffer.from(udp.payload)) : undefined
}

export function ipv4In(frame: Uint8Array) {
  return readEthernet(frame)?.type === ETHERTYPE.IPV4 ? readIpv4(frame.subarray(ETHERNET_HEADER)) : undefined
}

export function udpIn(frame: Uint8Array) {
  const packet = ipv4In(frame)
  return packet?.header.protocol === PROTOCOL.UDP ? readUdp(packet.payload) : undefined
}

/** The ICMP message of a frame. */
export function icmpIn(frame: Uint8Array) {
  const packet = ipv4In(frame)
  if (packet?.header.protocol !== PROTOCOL.ICMP) return undefined
  const { payload } = packet
  return { type: payload[0]!, code: payload[1]!, payload, sound: internetChecksum(payload) === 0 }
}

export const arpIn = (frame: Uint8Array) => (readEthernet(frame)?.type === ETHERTYPE.ARP ? readArp(frame) : undefined)

/** DISCOVER and REQUEST: the address a station gets. `ask` sends one frame and gives the answer to it. */
export async function obtainAddress(mac: number, ask: (frame: Uint8Array) => Promise<Uint8Array>, hostName?: string) {
  const offer = readDhcpReply(await ask(dhcpFrame({ type: DHCP.DISCOVER, mac, hostName })))!
  const request = dhcpFrame({ type: DHCP.REQUEST, mac, requestedIp: offer.ip, server: GATEWAY.ip, hostName })
  const answer = readDhcpReply(await ask(request))!
  if (answer.type !== DHCP.ACK) throw new Error(`the address ${offer.ip} was offered and then refused`)
  return answer.ip
}
