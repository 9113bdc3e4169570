import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { tcpFrame } from '../../test/net/tcp-frame.ts'
import { completeChecksum, onesSum } from './checksum.ts'
import { Coalescer } from './coalesce.ts'
import { viewOf } from './ethernet.ts'
import { Ipv4Header } from './ipv4.ts'
import { cutSegments, finished, ipIn, TCP, TCP_CHECKSUM, TcpHeader } from './tcp.ts'

const GUEST = { checksums: true, tcp4: true, tcp6: true }
const payload = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 7) ^ (i >> 8))
/** TCP's bytes and everything before them. */
const split = (frame: Uint8Array) => {
  const { at, version } = ipIn(frame)!
  const tcp = at + (version === 4 ? 20 : 40)
  const header = new TcpHeader(viewOf(frame), tcp)
  return { header, payload: frame.subarray(tcp + (header.dataOffset >> 4) * 4) }
}
/** Compared as text: element by element takes seconds. */
const join = (parts: readonly Uint8Array[]) => Buffer.concat(parts).toString('hex')

test('the sum is the one RFC 1071 describes, at every offset and length', () => {
  const slow = (bytes: Uint8Array) => {
    let sum = 0
    for (let i = 0; i < bytes.length; i += 2) sum += bytes[i]! * 256 + (bytes[i + 1] ?? 0)
    while (sum > 65535) sum = (sum & 65535) + Math.floor(sum / 65536)
    return sum
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(20), fc.nat(20), (bytes, from, less) => {
      const start = Math.min(from, bytes.length)
      const end = Math.max(start, bytes.length - less)
      expect(onesSum(bytes, start, end)).toBe(slow(bytes.subarray(start, end)))
    }),
  )
  expect(onesSum(new Uint8Array(65536).fill(255))).toBe(65535)
})

test('a UDP checksum that comes out as 0 is sent as 0xffff', () => {
  const frame = new Uint8Array(20)
  frame.set([0xff, 0xff], 16)
  completeChecksum(frame, { start: 14, offset: 4 })
  expect([frame[18], frame[19]]).toEqual([0xff, 0xff])
})

describe.each([4, 6] as const)('IPv%i', version => {
  const large = (length: number, flags: number = TCP.ACK) => tcpFrame({ version, payload: payload(length), flags })
  const start = version === 4 ? 34 : 54

  test('a large packet becomes finished segments that say the same', () => {
    const { frame, offload } = large(10_001, TCP.ACK | TCP.PSH | TCP.FIN | TCP.CWR)
    const segments = cutSegments(frame, { ...offload, segment: 1400 })!
    expect(segments.map(segment => split(segment).payload.length)).toEqual([...Array(7).fill(1400), 201])
    expect(join(segments.map(segment => split(segment).payload))).toBe(join([payload(10_001)]))
    const headers = segments.map(segment => split(segment).header)
    expect(headers.map(header => header.sequence)).toEqual(headers.map((_, i) => (0xfffff000 + i * 1400) >>> 0))
    expect(headers.map(header => header.flags & (TCP.FIN | TCP.PSH))).toEqual([...Array(7).fill(0), TCP.FIN | TCP.PSH])
    expect(headers.map(header => header.flags & TCP.CWR)).toEqual([TCP.CWR, ...Array(7).fill(0)])
    const coalescer = new Coalescer({ ...GUEST, tcp4: false, tcp6: false })
    for (const segment of segments) {
      coalescer.add(segment)
      expect(coalescer.shift()!.verified).toBe(true)
    }
  })

  test('segments become the large packet again', () => {
    const { frame, offload } = large(30_000, TCP.ACK | TCP.PSH)
    const coalescer = new Coalescer(GUEST)
    for (const segment of cutSegments(frame, { ...offload, segment: 1448 })!) coalescer.add(segment)
    expect(coalescer.size).toBe(1)
    const packet = coalescer.shift()!
    expect(packet.offload).toEqual({ start, offset: TCP_CHECKSUM, segment: 1448 })
    expect(join(packet.parts)).toBe(join([frame]))
    expect(coalescer.bytes).toBe(0)
  })

  test('segments that may be fragmented on their way are joined as well', () => {
    const { frame, offload } = large(4000)
    const coalescer = new Coalescer(GUEST)
    for (const segment of cutSegments(frame, { ...offload, segment: 1448 })!) {
      if (version === 4) {
        const header = new Ipv4Header(viewOf(segment), 14)
        Object.assign(header, { fragment: 0, identification: 0, checksum: 0 })
        header.checksum = ~onesSum(segment, 14, 34) & 0xffff
      }
      coalescer.add(segment)
    }
    expect(coalescer.size).toBe(1)
  })

  test('what is out of order, damaged, or not mere data stays by itself', () => {
    const { frame, offload } = large(4000)
    const [a, b, c] = cutSegments(frame, { ...offload, segment: 1448 })!
    const damaged = b!.slice()
    damaged[damaged.length - 1]! ^= 1
    const lone = (frames: Uint8Array[]) => {
      const coalescer = new Coalescer(GUEST)
      for (const frame of frames) coalescer.add(frame)
      return Array.from({ length: coalescer.size }, () => coalescer.shift()!).map(p => [p.parts.length, p.verified])
    }
    expect(lone([a!, c!])).toEqual([
      [1, true],
      [1, true],
    ])
    expect(lone([a!, damaged])).toEqual([
      [1, true],
      [1, false],
    ])
    const urgent = tcpFrame({ version, payload: payload(100), flags: TCP.ACK | TCP.URG })
    expect(lone(finished(urgent.frame, urgent.offload)!)).toEqual([[1, true]])
  })

  test('a packet never outgrows what IP can say of its length', () => {
    const coalescer = new Coalescer(GUEST)
    let sequence = 1
    for (let i = 0; i < 60; i++) {
      const { frame, offload } = tcpFrame({ version, payload: payload(1448), sequence })
      sequence += 1448
      for (const segment of finished(frame, offload)!) coalescer.add(segment)
    }
    const sizes = [coalescer.shift()!.length, coalescer.shift()!.length]
    expect(Math.max(...sizes)).toBeLessThanOrEqual(65535 + 14)
    expect(sizes[0]! + sizes[1]!).toBe(60 * 1448 + 2 * (start + 20))
  })

  test('an offload that makes no sense gives nothing, and nothing throws', () => {
    const { frame } = large(500)
    fc.assert(
      fc.property(
        fc.record({ start: fc.nat(65535), offset: fc.constantFrom(16, 6, 0), segment: fc.nat(65535) }),
        fc.nat(frame.length),
        (offload, length) => {
          const parts = cutSegments(frame.subarray(0, length), offload)
          if (parts) expect(parts.length).toBeLessThanOrEqual(500)
        },
      ),
    )
  })
})

test('any frames at all go through the coalescer without loss', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 80 }), { maxLength: 20 }), frames => {
      const coalescer = new Coalescer(GUEST)
      for (const frame of frames) {
        if (frame.length > 14) frame.set([0x08, 0x00, 0x45], 12)
        coalescer.add(frame)
      }
      expect(Array.from({ length: coalescer.size }, () => join(coalescer.shift()!.parts))).toEqual(
        frames.map(frame => join([frame])),
      )
    }),
  )
})
