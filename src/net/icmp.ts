import { be16, be32, struct, u8 } from '../virtio/layout.ts'
import { viewOf } from './ethernet.ts'
import { type Ipv4Packet, internetChecksum, PROTOCOL, writeIpv4 } from './ipv4.ts'

export const IcmpHeader = struct('ICMP header', 'RFC 792', {
  type: u8('of message', { ECHO_REPLY: 0, UNREACHABLE: 3, ECHO: 8 }),
  code: u8('detail of the type', { PROHIBITED: 13 }),
  checksum: be16('of the whole message'),
  rest: be32('identifier and sequence number of an echo; unused in an error'),
})
const { type: TYPE, code: CODE } = { type: IcmpHeader.fields.type.bits, code: IcmpHeader.fields.code.bits }

const message = (source: number, destination: number, bytes: Uint8Array) => {
  const header = new IcmpHeader(viewOf(bytes))
  header.checksum = 0
  header.checksum = internetChecksum(bytes)
  return writeIpv4(source, destination, PROTOCOL.ICMP, bytes)
}

/** The answer to a ping as a whole IPv4 packet, or nothing where this is no ping. */
export function echoReply({ header, payload }: Ipv4Packet) {
  if (header.protocol !== PROTOCOL.ICMP || payload.length < IcmpHeader.size || payload[0] !== TYPE.ECHO)
    return undefined
  const reply = payload.slice()
  reply[0] = TYPE.ECHO_REPLY
  return message(header.destination, header.source, reply)
}

/** "Communication administratively prohibited" (RFC 1812 §5.2.7.1) about a packet, so that its sender need not wait. */
export function prohibited(from: number, packet: Ipv4Packet) {
  const { header, payload, whole } = packet
  // An error about an error could go round for ever (RFC 1122 §3.2.2).
  if (header.protocol === PROTOCOL.ICMP && payload[0] !== TYPE.ECHO) return undefined
  const quoted = whole.subarray(0, whole.length - payload.length + 8)
  const bytes = new Uint8Array(IcmpHeader.size + quoted.length)
  bytes.set(IcmpHeader.bytes({ type: TYPE.UNREACHABLE, code: CODE.PROHIBITED }))
  bytes.set(quoted, IcmpHeader.size)
  return message(from, header.source, bytes)
}
