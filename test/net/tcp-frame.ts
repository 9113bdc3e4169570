/** TCP frames as a guest with checksum offload makes them: their checksum is still the sum of the pseudo header. */

import type { Offload } from '../../src/net/checksum.ts'
import { onesSum } from '../../src/net/checksum.ts'
import { viewOf } from '../../src/net/ethernet.ts'
import { Ipv4Header, PROTOCOL } from '../../src/net/ipv4.ts'
import { IPV6_HEADER, Ipv6Header, pseudoSum, TCP, TCP_CHECKSUM, TcpHeader } from '../../src/net/tcp.ts'

export interface TcpFrameOptions {
  readonly version?: 4 | 6
  readonly payload: Uint8Array
  readonly flags?: number
  readonly sequence?: number
  /** The last byte of the sender's and the receiver's addresses. */
  readonly from?: number
  readonly to?: number
}

export function tcpFrame({ version = 4, payload, flags, sequence, from = 1, to = 2 }: TcpFrameOptions) {
  const ip = 14
  const start = ip + (version === 4 ? Ipv4Header.size : IPV6_HEADER)
  const frame = new Uint8Array(start + TcpHeader.size + payload.length)
  const view = viewOf(frame)
  frame.set([2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, ...(version === 4 ? [0x08, 0x00] : [0x86, 0xdd])])
  if (version === 4) {
    const header = new Ipv4Header(view, ip)
    const length = frame.length - ip
    const ends = { source: 0x0a000000 + from, destination: 0x0a000000 + to }
    Object.assign(header, { version: 0x45, length, fragment: 0x4000, ttl: 64, protocol: PROTOCOL.TCP, ...ends })
    header.checksum = ~onesSum(frame, ip, start) & 0xffff
  } else {
    const length = frame.length - start
    Object.assign(new Ipv6Header(view, ip), { version: 0x60000000, length, next: PROTOCOL.TCP, hops: 64 })
    frame.set([0xfd, ...Array(14).fill(0), from, 0xfd, ...Array(14).fill(0), to], ip + 8)
  }
  Object.assign(new TcpHeader(view, start), {
    source: 40000,
    destination: 5201,
    sequence: sequence ?? 0xfffff000,
    acknowledgment: 77,
    dataOffset: 0x50,
    flags: flags ?? TCP.ACK,
    window: 501,
    checksum: pseudoSum(frame, ip, version, PROTOCOL.TCP, frame.length - start),
  })
  frame.set(payload, start + TcpHeader.size)
  const offload: Offload = { start, offset: TCP_CHECKSUM }
  return { frame, offload }
}
