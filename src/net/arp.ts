import { be16, be32, be48, struct, u8 } from '../virtio/layout.ts'
import { BROADCAST_MAC, ETHERNET_HEADER, ETHERTYPE, viewOf, writeEthernet } from './ethernet.ts'

export const ArpPacket = struct('ARP packet', 'RFC 826', {
  hardware: be16('kind of hardware address', { ETHERNET: 1 }),
  protocol: be16('kind of protocol address, as an EtherType'),
  hardwareSize: u8('of a hardware address, in bytes'),
  protocolSize: u8('of a protocol address, in bytes'),
  operation: be16('what is asked or told', { REQUEST: 1, REPLY: 2 }),
  senderMac: be48('who speaks'),
  senderIp: be32('which address it says it has; 0 in a probe'),
  targetMac: be48('who is spoken to'),
  targetIp: be32('which address is asked for'),
})
export const ARP = ArpPacket.fields.operation.bits

/** ARP for IPv4 over Ethernet out of a whole frame, or nothing where it is anything else. */
export function readArp(frame: Uint8Array): InstanceType<typeof ArpPacket> | undefined {
  if (frame.length < ETHERNET_HEADER + ArpPacket.size) return undefined
  const packet = new ArpPacket(viewOf(frame), ETHERNET_HEADER)
  const known = packet.hardware === 1 && packet.protocol === ETHERTYPE.IPV4
  return known && packet.hardwareSize === 6 && packet.protocolSize === 4 ? packet : undefined
}

type Ends = { senderMac: number; senderIp: number; targetMac: number; targetIp: number }

/** A whole frame: a request goes to everybody, a reply to its target. */
export function writeArp(operation: number, ends: Ends) {
  const kind = { hardware: 1, protocol: ETHERTYPE.IPV4, hardwareSize: 6, protocolSize: 4 }
  const destination = operation === ARP.REQUEST ? BROADCAST_MAC : ends.targetMac
  return writeEthernet(destination, ends.senderMac, ETHERTYPE.ARP, ArpPacket.bytes({ ...kind, operation, ...ends }))
}
