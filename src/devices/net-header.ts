import type { Offload } from '../net/checksum.ts'
import { le16, struct, u8 } from '../virtio/layout.ts'

export const Header = struct('virtio_net_hdr', '5.1.6', {
  flags: u8('', { NEEDS_CSUM: 1, DATA_VALID: 2, RSC_INFO: 4 }),
  gso_type: u8('how the packet is to be cut', { NONE: 0, TCPV4: 1, UDP: 3, TCPV6: 4, UDP_L4: 5, ECN: 0x80 }),
  hdr_len: le16('length of all headers: a hint, not to be trusted'),
  gso_size: le16('payload of each segment'),
  csum_start: le16('where the checksum begins to cover'),
  csum_offset: le16('where it stands, from there'),
  num_buffers: le16('buffers the packet is spread over; absent from a legacy driver without MRG_RXBUF'),
})
/** §5.1.6.1: without `num_buffers`. */
export const LEGACY_HEADER = Header.offset.num_buffers

const { NEEDS_CSUM, DATA_VALID } = Header.fields.flags.bits
const { NONE, TCPV4, TCPV6, ECN } = Header.fields.gso_type.bits

/** What the driver may ask of us, or we of it. */
export interface Offloads {
  readonly checksum: boolean
  readonly tcp4: boolean
  readonly tcp6: boolean
  readonly ecn: boolean
}

/** What a driver's header asks for a frame of `length` bytes. `'malformed'`: something that cannot be done. */
export function readHeader(bytes: Uint8Array, length: number, may: Offloads): Offload | undefined | 'malformed' {
  const header = new Header(new DataView(bytes.buffer, bytes.byteOffset))
  const type = header.gso_type & ~ECN
  // Flags that were not negotiated mean nothing, and the fields they speak of neither (§5.1.6.2.2).
  const partial = may.checksum && (header.flags & NEEDS_CSUM) !== 0
  if (!partial) return type === NONE ? undefined : 'malformed'
  const { csum_start: start, csum_offset: offset, gso_size: segment } = header
  if (start + offset + 2 > length) return 'malformed'
  if (type === NONE) return { start, offset }
  const allowed = type === TCPV4 ? may.tcp4 : type === TCPV6 && may.tcp6
  const ecn = (header.gso_type & ECN) !== 0
  if (!allowed || segment === 0 || (ecn && !may.ecn)) return 'malformed'
  return { start, offset, segment, ...(ecn && { ecn }) }
}

export interface Outgoing {
  readonly offload: Offload | undefined
  /** The large packet is IPv6. */
  readonly ipv6?: boolean
  /** Its checksum was looked at. */
  readonly verified: boolean
  /** Length of all headers, in bytes. */
  readonly headers: number
  readonly buffers: number
}

/** Writes what the driver is to know of a packet; `may.checksum` is whether it wants to know anything. */
export function writeHeader(into: Uint8Array, { offload, ipv6, verified, headers, buffers }: Outgoing, may: Offloads) {
  const header = new Header(new DataView(into.buffer, into.byteOffset))
  const large = offload?.segment !== undefined
  header.flags = !may.checksum ? 0 : offload ? NEEDS_CSUM : verified ? DATA_VALID : 0
  header.gso_type = large ? (ipv6 ? TCPV6 : TCPV4) | (offload.ecn ? ECN : 0) : NONE
  header.hdr_len = offload ? headers : 0
  header.gso_size = offload?.segment ?? 0
  header.csum_start = offload?.start ?? 0
  header.csum_offset = offload?.offset ?? 0
  if (into.length === Header.size) header.num_buffers = buffers
}
