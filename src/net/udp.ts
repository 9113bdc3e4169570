import { be16, be32, struct, u8 } from '../virtio/layout.ts'
import { viewOf } from './ethernet.ts'
import { internetChecksum, PROTOCOL, writeIpv4 } from './ipv4.ts'

export const UdpHeader = struct('UDP header', 'RFC 768', {
  source: be16('port of the sender', { DNS: 53, DHCP_SERVER: 67, DHCP_CLIENT: 68 }),
  destination: be16('port of the receiver'),
  length: be16('of header and payload, in bytes'),
  checksum: be16('over a pseudo header, header and payload; 0 where there is none'),
})
export const PORT = UdpHeader.fields.source.bits

const PseudoHeader = struct('UDP pseudo header', 'RFC 768', {
  source: be32(),
  destination: be32(),
  zero: u8(),
  protocol: u8(),
  length: be16(),
})

export interface Datagram {
  readonly header: InstanceType<typeof UdpHeader>
  readonly payload: Uint8Array
}

/**
 * A datagram out of an IPv4 payload, or nothing where it is malformed. Its checksum is not looked at: a guest that was
 * promised checksum offload sends unfinished ones, and neither memory nor TCP damages frames.
 */
export function readUdp(bytes: Uint8Array): Datagram | undefined {
  if (bytes.length < UdpHeader.size) return undefined
  const header = new UdpHeader(viewOf(bytes))
  if (header.length < UdpHeader.size || header.length > bytes.length) return undefined
  return { header, payload: bytes.subarray(UdpHeader.size, header.length) }
}

export interface Ends {
  readonly ip: number
  readonly port: number
}

/** A whole IPv4 packet. */
export function writeUdp(from: Ends, to: Ends, payload: Uint8Array) {
  const length = UdpHeader.size + payload.length
  const datagram = new Uint8Array(length)
  datagram.set(UdpHeader.bytes({ source: from.port, destination: to.port, length }))
  datagram.set(payload, UdpHeader.size)
  const pseudo = PseudoHeader.bytes({ source: from.ip, destination: to.ip, protocol: PROTOCOL.UDP, length })
  // A sum of 0 is sent as its other spelling, since 0 says that there is no checksum.
  new UdpHeader(viewOf(datagram)).checksum = internetChecksum(datagram, ~internetChecksum(pseudo) & 0xffff) || 0xffff
  return writeIpv4(from.ip, to.ip, PROTOCOL.UDP, datagram)
}
