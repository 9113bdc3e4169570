/** Joins TCP segments that follow one another into large packets, so that a guest handles many as one. */

import { fold, type Offload, onesSum } from './checksum.ts'
import { viewOf } from './ethernet.ts'
import { Ipv4Header, PROTOCOL } from './ipv4.ts'
import { IPV6_HEADER, Ipv6Header, ihl, ipIn, pseudoSum, TCP, TCP_CHECKSUM, TcpHeader } from './tcp.ts'
import { UdpHeader } from './udp.ts'

/** A frame on its way to a guest: its parts, one after another. */
export interface Packet {
  readonly parts: readonly Uint8Array[]
  /** In bytes, of all parts. */
  readonly length: number
  readonly offload?: Offload | undefined
  /** Its transport checksum was looked at, and is right. */
  readonly verified: boolean
}

/** What the receiver leaves to us. */
export interface Receiver {
  /** It has no use for checksums that were looked at already, unless it says so. */
  readonly checksums: boolean
  /** It takes TCP packets larger than its MTU, over IPv4, over IPv6. */
  readonly tcp4: boolean
  readonly tcp6: boolean
}

/** What an IP packet can say of its length. */
const LARGEST = 65535
const { MORE, OFFSET } = Ipv4Header.fields.fragment.bits

/** Where a frame's TCP is. All positions and sizes in bytes. */
interface Segment {
  readonly frame: Uint8Array
  readonly version: 4 | 6
  readonly ip: number
  readonly tcp: number
  readonly payload: number
  /** Of the payload. */
  readonly size: number
  readonly header: InstanceType<typeof TcpHeader>
}

/** A packet that may still grow. */
interface Stream {
  readonly key: number
  readonly head: Segment
  /** The sequence number that would go on from here. */
  next: number
  /** Of all segments so far. */
  flags: number
}

interface Held {
  parts: Uint8Array[]
  length: number
  offload: Offload | undefined
  readonly verified: boolean
  stream: Stream | undefined
}

/** A queue of frames that come out as packets, in the order in which the first segment of each came. */
export class Coalescer {
  /** Bytes held. */
  bytes = 0
  private packets: Held[] = []
  private taken = 0
  /** The packet of each stream that can still grow, by a hash of its two ends. */
  private readonly open = new Map<number, Held>()

  constructor(private readonly receiver: Receiver) {}

  /** Packets held. */
  get size() {
    return this.packets.length - this.taken
  }

  /** The frame is kept, not copied: nobody may write to it any more. */
  add(frame: Uint8Array, offload?: Offload) {
    const { checksums, tcp4, tcp6 } = this.receiver
    if (offload || !checksums) return this.push(frame, offload, false)
    const segment = verified(frame)
    if (typeof segment === 'boolean') return this.push(frame, undefined, segment)
    const key = hash(segment)
    const packet = this.open.get(key)
    const { flags, sequence } = segment.header
    const plain = segment.size > 0 && (flags & ~(TCP.PSH | TCP.FIN)) === TCP.ACK
    if (packet) {
      if (plain && goesOn(packet, segment)) return this.join(packet, segment)
      this.close(packet)
    }
    const held = this.push(frame, undefined, true)
    if (!plain || flags & TCP.FIN || !(segment.version === 4 ? tcp4 : tcp6) || !joinable(segment)) return
    held.stream = { key, head: segment, next: (sequence + segment.size) >>> 0, flags }
    this.open.set(key, held)
  }

  /** The oldest packet, as long as it is now. */
  peek(): Packet | undefined {
    return this.packets[this.taken]
  }

  /** The oldest packet, which grows no more. */
  shift(): Packet | undefined {
    const packet = this.packets[this.taken]
    if (!packet) return
    this.close(packet)
    this.taken++
    if (this.taken === this.packets.length || this.taken === 256) {
      this.packets = this.packets.slice(this.taken)
      this.taken = 0
    }
    this.bytes -= packet.length
    return packet
  }

  private push(frame: Uint8Array, offload: Offload | undefined, verified: boolean): Held {
    const held = { parts: [frame], length: frame.length, offload, verified, stream: undefined }
    this.packets.push(held)
    this.bytes += frame.length
    return held
  }

  private join(packet: Held, segment: Segment) {
    const stream = packet.stream!
    const { frame, payload, size, header } = segment
    packet.parts.push(frame.subarray(payload, payload + size))
    packet.length += size
    this.bytes += size
    stream.next = (stream.next + size) >>> 0
    stream.flags |= header.flags
    // One that is shorter than those before it can only be the last.
    if (size < stream.head.size || header.flags & TCP.FIN) this.close(packet)
  }

  private close(packet: Held) {
    const { stream, parts } = packet
    if (!stream) return
    packet.stream = undefined
    this.open.delete(stream.key)
    if (parts.length === 1) return
    const { head, flags } = stream
    const header = head.frame.slice(0, head.payload)
    enlarge(header, head, packet.length, flags)
    parts.splice(0, 1, header, head.frame.subarray(head.payload, head.payload + head.size))
    packet.offload = { start: head.tcp, offset: TCP_CHECKSUM, segment: head.size }
  }
}

/** Makes the first segment's headers those of a packet of `length` bytes, with the sum of its pseudo header. */
function enlarge(header: Uint8Array, { version, ip, tcp }: Segment, length: number, flags: number) {
  const view = viewOf(header)
  if (version === 4) {
    const packet = new Ipv4Header(view, ip)
    packet.length = length - ip
    packet.checksum = 0
    packet.checksum = ~onesSum(header, ip, tcp) & 0xffff
  } else new Ipv6Header(view, ip).length = length - ip - IPV6_HEADER
  const segment = new TcpHeader(view, tcp)
  segment.flags = flags
  segment.checksum = pseudoSum(header, ip, version, PROTOCOL.TCP, length - tcp)
}

/** Looks at the checksums of TCP and UDP. `false`: not right, or not ours to say. TCP's frame is described, if right. */
function verified(frame: Uint8Array): Segment | boolean {
  const found = ipIn(frame)
  if (!found) return false
  const { at: ip, version } = found
  const start = ip + (version === 4 ? ihl(frame, ip) : IPV6_HEADER)
  if (start > frame.length || start < ip + Ipv4Header.size) return false
  const view = viewOf(frame)
  let protocol: number
  let end: number
  if (version === 4) {
    const header = new Ipv4Header(view, ip)
    protocol = header.protocol
    end = ip + header.length
    if (header.fragment & (MORE | OFFSET) || onesSum(frame, ip, start) !== 0xffff) return false
  } else {
    const header = new Ipv6Header(view, ip)
    protocol = header.next
    end = start + header.length
  }
  const least = protocol === PROTOCOL.TCP ? TcpHeader.size : UdpHeader.size
  if (end > frame.length || end - start < least) return false
  if (protocol === PROTOCOL.UDP && new UdpHeader(view, start).checksum === 0) return false
  if (protocol !== PROTOCOL.TCP && protocol !== PROTOCOL.UDP) return false
  if (fold(pseudoSum(frame, ip, version, protocol, end - start) + onesSum(frame, start, end)) !== 0xffff) return false
  if (protocol === PROTOCOL.UDP) return true
  const header = new TcpHeader(view, start)
  const payload = start + (header.dataOffset >> 4) * 4
  if (payload < start + TcpHeader.size || payload > end) return true
  return { frame, version, ip, tcp: start, payload, size: end - payload, header }
}

/** Whether nothing is lost when others are joined to it: no IP options, no padding. A fragment never comes so far. */
function joinable({ frame, version, ip, tcp, payload, size }: Segment) {
  return payload + size === frame.length && (version === 6 || tcp - ip === Ipv4Header.size)
}

/** Whether a segment only continues what the packet has: everything but its place in the stream is the same. */
function goesOn({ stream, length }: Held, segment: Segment) {
  const { head, next } = stream!
  const { frame, version, ip, tcp, payload, size, header } = segment
  if (header.sequence !== next || size > head.size || length - ip + size > LARGEST) return false
  if (head.version !== version || head.ip !== ip || head.tcp !== tcp || head.payload !== payload) return false
  const same = (from: number, to: number) => {
    for (let i = from; i < to; i++) if (frame[i] !== head.frame[i]) return false
    return true
  }
  const network =
    version === 4
      ? same(ip, ip + 2) && same(ip + 6, ip + 10) && same(ip + 12, ip + 20)
      : same(ip, ip + 4) && same(ip + 6, ip + IPV6_HEADER)
  const { acknowledgment, dataOffset, window, urgent } = TcpHeader.offset
  return (
    network &&
    same(0, ip) &&
    same(tcp, tcp + 4) &&
    same(tcp + acknowledgment, tcp + dataOffset + 1) &&
    same(tcp + window, tcp + window + 2) &&
    same(tcp + urgent, payload)
  )
}

/** Tells streams apart; that two never have the same is not relied upon. */
function hash({ frame, ip, version, tcp }: Segment) {
  const addresses = version === 4 ? ip + 12 : ip + 20
  const view = viewOf(frame)
  const mix = Math.imul(view.getInt32(addresses) ^ view.getInt32(addresses + 4), 0x9e3779b1)
  return mix ^ view.getInt32(tcp)
}
