/** IPv4 packets. An address is an unsigned 32-bit number everywhere. */

import { be16, be32, struct, u8 } from '../virtio/layout.ts'
import { fold, onesSum } from './checksum.ts'
import { viewOf } from './ethernet.ts'

export const Ipv4Header = struct('IPv4 header', 'RFC 791 §3.1', {
  version: u8('version in the high four bits, header length in 32-bit words in the low four'),
  service: u8('type of service'),
  length: be16('of the whole packet, in bytes'),
  identification: be16('of the packet a fragment belongs to'),
  fragment: be16('flags, and offset in units of 8 bytes', { DONT_FRAGMENT: 0x4000, MORE: 0x2000, OFFSET: 0x1fff }),
  ttl: u8('time to live, in hops'),
  protocol: u8('what the payload is', { ICMP: 1, TCP: 6, UDP: 17 }),
  checksum: be16('of the header'),
  source: be32('address of the sender'),
  destination: be32('address of the receiver'),
})
export const PROTOCOL = Ipv4Header.fields.protocol.bits
const FRAGMENT = Ipv4Header.fields.fragment.bits

export const BROADCAST_IP = 0xffffffff

export interface Ipv4Packet {
  readonly header: InstanceType<typeof Ipv4Header>
  /** Without options and without what pads a short frame. */
  readonly payload: Uint8Array
  /** Header, options and payload. */
  readonly whole: Uint8Array
}

/** A whole packet, or nothing where it is malformed or a fragment. */
export function readIpv4(bytes: Uint8Array): Ipv4Packet | undefined {
  if (bytes.length < Ipv4Header.size) return undefined
  const header = new Ipv4Header(viewOf(bytes))
  const start = (header.version & 15) * 4
  if (header.version >> 4 !== 4 || start < Ipv4Header.size || header.length < start) return undefined
  if (header.length > bytes.length || header.fragment & (FRAGMENT.MORE | FRAGMENT.OFFSET)) return undefined
  if (internetChecksum(bytes.subarray(0, start)) !== 0) return undefined
  return { header, payload: bytes.subarray(start, header.length), whole: bytes.subarray(0, header.length) }
}

export function writeIpv4(source: number, destination: number, protocol: number, payload: Uint8Array) {
  const length = Ipv4Header.size + payload.length
  const packet = new Uint8Array(length)
  const header = new Ipv4Header(viewOf(packet))
  const fragment = FRAGMENT.DONT_FRAGMENT
  Object.assign(header, { version: 0x45, length, fragment, ttl: 64, protocol, source, destination })
  header.checksum = internetChecksum(packet.subarray(0, Ipv4Header.size))
  packet.set(payload, Ipv4Header.size)
  return packet
}

/** RFC 1071. Over bytes that contain their own correct checksum it is 0. `start` is a sum to go on from. */
export const internetChecksum = (bytes: Uint8Array, start = 0) => ~fold(start + onesSum(bytes)) & 0xffff

/** `10.0.2.15` */
export const formatIp = (ip: number) => [ip >>> 24, (ip >>> 16) & 255, (ip >>> 8) & 255, ip & 255].join('.')

/** Four decimal numbers without leading zeroes; nothing for anything else (no octal, no short forms). */
export function parseIp(text: string): number | undefined {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every(part => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256))
    return undefined
  return parts.reduce((ip, part) => ip * 256 + Number(part), 0)
}

/** The bits of an address that name its network. */
export const prefixMask = (bits: number) => (bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0)
