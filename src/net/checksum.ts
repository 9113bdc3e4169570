/** The ones'-complement sum that IP, TCP, UDP and ICMP are checked with (RFC 1071), and frames that lack theirs. */

import { viewOf } from './ethernet.ts'

/** Adds the carries back in: 16 bits that mean the same. */
export function fold(sum: number): number {
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000)
  return sum
}

/** The sum of the 16-bit words in `bytes[start, end)`, at most 128 KiB; an odd byte at the end counts as a high half. */
export function onesSum(bytes: Uint8Array, start = 0, end = bytes.length): number {
  const view = viewOf(bytes)
  // Summed in whichever byte order is quick to load: the result only has to be swapped (RFC 1071 §2 B).
  let low = 0
  let high = 0
  let at = start
  for (; at + 16 <= end; at += 16) {
    const a = view.getInt32(at, true)
    const b = view.getInt32(at + 4, true)
    const c = view.getInt32(at + 8, true)
    const d = view.getInt32(at + 12, true)
    low += (a & 0xffff) + (b & 0xffff) + (c & 0xffff) + (d & 0xffff)
    high += (a >>> 16) + (b >>> 16) + (c >>> 16) + (d >>> 16)
  }
  for (; at + 2 <= end; at += 2) low += view.getUint16(at, true)
  if (at < end) low += view.getUint8(at)
  const sum = fold(low + high)
  return ((sum & 0xff) << 8) | (sum >>> 8)
}

/** What a frame still lacks, as network cards and virtio (§5.1.6.2) put it. All positions are in bytes. */
export interface Offload {
  /** Where the transport header begins: its checksum covers everything from here on. */
  readonly start: number
  /** Where in that header the checksum stands. It holds the sum of the pseudo header. */
  readonly offset: number
  /** The frame is TCP to be cut into segments with this much payload each. Absent: it goes as it is. */
  readonly segment?: number
  /** Its first segment alone carries CWR (RFC 3168). */
  readonly ecn?: boolean
}

/** Puts the missing checksum into a frame of one's own. */
export function completeChecksum(frame: Uint8Array, { start, offset }: Offload) {
  // A sum of 0 is sent as its other spelling: in UDP, 0 says that there is none (RFC 768).
  const checksum = ~onesSum(frame, start) & 0xffff || 0xffff
  frame[start + offset] = checksum >>> 8
  frame[start + offset + 1] = checksum & 0xff
}
