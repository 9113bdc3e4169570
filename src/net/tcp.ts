/** TCP inside a frame: where it lies, cutting one large packet into segments, and the sum of its pseudo header. */

import { be16, be32, struct, u8 } from '../virtio/layout.ts'
import { completeChecksum, fold, type Offload, onesSum } from './checksum.ts'
import { ETHERNET_HEADER, ETHERTYPE, viewOf } from './ethernet.ts'
import { Ipv4Header, PROTOCOL } from './ipv4.ts'

export const TcpHeader = struct('TCP header', 'RFC 9293 §3.1', {
  source: be16('port of the sender'),
  destination: be16('port of the receiver'),
  sequence: be32('of the first byte of payload'),
  acknowledgment: be32('the next byte expected from the other side'),
  dataOffset: u8('length of the header in 32-bit words in the high four bits'),
  flags: u8('', { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32, ECE: 64, CWR: 128 }),
  window: be16('bytes the sender would take, scaled'),
  checksum: be16('over a pseudo header, header and payload'),
  urgent: be16('where urgent data ends'),
})
export const TCP = TcpHeader.fields.flags.bits
/** Where the checksum stands in the header: what an `Offload` of TCP says. */
export const TCP_CHECKSUM = TcpHeader.offset.checksum

export const Ipv6Header = struct('IPv6 header', 'RFC 8200 §3', {
  version: be32('version in the high four bits, then traffic class and flow label'),
  length: be16('of what follows, in bytes'),
  next: u8('what the next header is'),
  hops: u8('limit'),
})
/** With both addresses. */
export const IPV6_HEADER = 40

const VLAN_TAG = 4

/** Where the IP header begins behind up to two VLAN tags, and its version; nothing where it is not IP. */
export function ipIn(frame: Uint8Array): { readonly at: number; readonly version: 4 | 6 } | undefined {
  for (let at = ETHERNET_HEADER; at <= ETHERNET_HEADER + 2 * VLAN_TAG && at < frame.length; at += VLAN_TAG) {
    const type = (frame[at - 2]! << 8) | frame[at - 1]!
    if (type === ETHERTYPE.IPV4) return frame[at]! >> 4 === 4 ? { at, version: 4 } : undefined
    if (type === ETHERTYPE.IPV6) return frame[at]! >> 4 === 6 ? { at, version: 6 } : undefined
    if (type !== ETHERTYPE.VLAN) return
  }
  return
}

/** The sum of the pseudo header for a transport packet of `length` bytes (RFC 9293 §3.1, RFC 8200 §8.1). */
export function pseudoSum(frame: Uint8Array, ip: number, version: 4 | 6, protocol: number, length: number): number {
  const addresses = version === 4 ? onesSum(frame, ip + 12, ip + 20) : onesSum(frame, ip + 8, ip + IPV6_HEADER)
  return fold(addresses + protocol + length)
}

/** A large TCP packet taken apart as its offload says, every part a finished frame; nothing where it cannot be. */
export function cutSegments(frame: Uint8Array, offload: Offload): Uint8Array<ArrayBuffer>[] | undefined {
  const { start, offset, segment = 0 } = offload
  const ip = ipIn(frame)
  if (!ip || segment === 0 || offset !== TCP_CHECKSUM || start + TcpHeader.size > frame.length) return
  const { at, version } = ip
  const inner = version === 4 ? at + Ipv4Header.size : at + IPV6_HEADER
  const payload = start + (frame[start + TcpHeader.offset.dataOffset]! >> 4) * 4
  if (start < inner || payload < start + TcpHeader.size || payload > frame.length) return
  if (version === 4 && (frame[at + Ipv4Header.offset.protocol] !== PROTOCOL.TCP || at + ihl(frame, at) !== start))
    return

  const large = new TcpHeader(viewOf(frame), start)
  const { sequence, flags, checksum } = large
  const identification = version === 4 ? new Ipv4Header(viewOf(frame), at).identification : 0
  // The partial sum holds the length of the large packet: this takes it out again.
  const withoutLength = checksum + (~(frame.length - start) & 0xffff)
  const parts: Uint8Array<ArrayBuffer>[] = []
  for (let from = payload, index = 0; from < frame.length || index === 0; from += segment, index++) {
    const to = Math.min(from + segment, frame.length)
    const part = new Uint8Array(payload + to - from)
    part.set(frame.subarray(0, payload))
    part.set(frame.subarray(from, to), payload)
    const view = viewOf(part)
    if (version === 4) {
      const header = new Ipv4Header(view, at)
      header.length = part.length - at
      header.identification = (identification + index) & 0xffff
      header.checksum = 0
      header.checksum = ~onesSum(part, at, start) & 0xffff
    } else new Ipv6Header(view, at).length = part.length - at - IPV6_HEADER
    const tcp = new TcpHeader(view, start)
    tcp.sequence = (sequence + (from - payload)) >>> 0
    tcp.flags = flags & ~(index > 0 ? TCP.CWR : 0) & ~(to < frame.length ? TCP.FIN | TCP.PSH : 0)
    tcp.checksum = fold(withoutLength + (part.length - start))
    completeChecksum(part, offload)
    parts.push(part)
  }
  return parts
}

/** Length of an IPv4 header, in bytes. */
export const ihl = (frame: Uint8Array, at: number) => (frame[at]! & 15) * 4

/** Frames that lack nothing: `frame` itself where that is so already. Nothing where its offload makes no sense. */
export function finished(frame: Uint8Array, offload: Offload | undefined): Uint8Array[] | undefined {
  if (!offload) return [frame]
  if (offload.segment) return cutSegments(frame, offload)
  const copy = frame.slice()
  completeChecksum(copy, offload)
  return [copy]
}
