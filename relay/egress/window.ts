/**
 * Keeps passt from sending more at once than its socket holds. What does not fit it drops, and what a guest then asks for again
 * it answers with the whole window, again and again: a download ends in a storm of the same segments. It never has more on its
 * way than the guest's windows allow, so those are made smaller, on their way through here.
 */

import { fold } from '../../src/net/checksum.ts'
import { ETHERNET_HEADER, viewOf } from '../../src/net/ethernet.ts'
import { Ipv4Header, PROTOCOL } from '../../src/net/ipv4.ts'
import { ihl, TCP, TcpHeader } from '../../src/net/tcp.ts'

interface Connection {
  /** The window field is shifted left by so many bits (RFC 7323 §2). */
  readonly scale: number
  /** When the guest last spoke, in milliseconds. */
  seen: number
}

/** Connections remembered; of more, the oldest goes without. */
const REMEMBERED = 4096
/** A connection that was silent for so long has no share, in milliseconds. */
const SILENT = 1000
/** How often shares are worked out, in milliseconds. */
const EVERY = 100
/** The least share, in bytes: some segments, or a connection would stand still. */
const LEAST = 16_384

const OPTION = { END: 0, NOTHING: 1, SCALE: 3 } as const
const LARGEST_SCALE = 14

export class WindowLimit {
  readonly #connections = new Map<string, Connection>()
  #share: number
  #sharedAt = Number.NEGATIVE_INFINITY

  /** `budget`: what all connections may have on their way to the guest, in bytes. */
  constructor(readonly budget: number) {
    this.#share = budget
  }

  /** Makes the window in a guest's IPv4 frame smaller, in place, where it is TCP and offers more than its share. */
  apply(frame: Uint8Array, now: number) {
    const view = viewOf(frame)
    const ip = new Ipv4Header(view, ETHERNET_HEADER)
    const at = ETHERNET_HEADER + ihl(frame, ETHERNET_HEADER)
    if (ip.protocol !== PROTOCOL.TCP || at + TcpHeader.size > frame.length) return
    const tcp = new TcpHeader(view, at)
    const key = `${tcp.source}>${ip.destination}:${tcp.destination}`
    // In a SYN the window is not scaled, and so never more than 64 KiB.
    if (tcp.flags & TCP.SYN) return this.#open(key, scaleIn(frame, at), now)
    const connection = this.#connections.get(key)
    if (!connection) return
    connection.seen = now
    const most = this.#shareAt(now) >> connection.scale
    if (tcp.window <= most) return
    // RFC 1624: the checksum changes by what the field does.
    tcp.checksum = ~fold((~tcp.checksum & 0xffff) + (~tcp.window & 0xffff) + most) & 0xffff
    tcp.window = most
  }

  #open(key: string, scale: number, now: number) {
    this.#connections.delete(key)
    if (this.#connections.size >= REMEMBERED) this.#connections.delete(this.#connections.keys().next().value!)
    this.#connections.set(key, { scale, seen: now })
  }

  #shareAt(now: number) {
    if (now - this.#sharedAt < EVERY) return this.#share
    this.#sharedAt = now
    let speaking = 0
    for (const { seen } of this.#connections.values()) if (now - seen < SILENT) speaking++
    return (this.#share = Math.max(LEAST, Math.floor(this.budget / Math.max(1, speaking))))
  }
}

/** What the SYN at `at` says of its window; 0 if nothing. */
function scaleIn(frame: Uint8Array, at: number): number {
  const end = Math.min(frame.length, at + (frame[at + TcpHeader.offset.dataOffset]! >> 4) * 4)
  for (let i = at + TcpHeader.size; i < end; ) {
    const kind = frame[i]!
    if (kind === OPTION.END) break
    if (kind === OPTION.SCALE) return Math.min(LARGEST_SCALE, frame[i + 2] ?? 0)
    i += kind === OPTION.NOTHING ? 1 : Math.max(2, frame[i + 1] ?? 0)
  }
  return 0
}
