/** One connection: what it may send, where that goes, and what is held for it. */

import type { Duplex } from 'node:stream'
import type { Logger } from 'pino'
import type { WebSocket } from 'ws'
import { Bundler, bundle, unbundle } from '../src/net/bundle.ts'
import type { DnsAnswer } from '../src/net/dns.ts'
import { formatMac, isGroupMac, parseMac, readEthernet } from '../src/net/ethernet.ts'
import type { Station } from '../src/net/lan-services.ts'
import { PortGuard, REFUSALS, type Refusal } from '../src/net/port-guard.ts'
import type { SwitchPort } from '../src/net/switch.ts'
import type { Grant } from './access.ts'
import { Bucket } from './limits.ts'
import { type Counts, countOne } from './metrics.ts'
import type { Options } from './options.ts'
import type { Member, Room } from './room.ts'

/** The way to the internet of one client. */
export interface WayOut {
  send(frame: Uint8Array): void
  close(): void
}

/** What lies outside the rooms, for clients that may go there. */
export interface Outside {
  /** `deliver` gets the frames that come back. */
  open(client: string, deliver: (frame: Uint8Array) => void): WayOut
  resolve(name: string, type: number): Promise<DnsAnswer>
}

/** Reasons a frame is refused besides the guard's. */
const MORE_REFUSALS = {
  rate: 'more bytes or frames a second than this client may send',
  broadcasts: 'more broadcasts a second than this client may send',
  text: 'a text message, where every message is one Ethernet frame',
} as const
type Reason = Refusal | keyof typeof MORE_REFUSALS

/** What Linux sends by itself without meaning harm: counted, but worth no line in the log. */
const QUIET: readonly Reason[] = ['ipv6']
/** A reason is logged at most this often for one client. */
const LOG_EVERY = 10_000
/** Frames kept while other machines are asked whether a MAC address is free. */
const PENDING_FRAMES = 16
/** From this backlog on frames are copied, so that they do not keep alive the larger buffers they were received in. */
const COPY_BACKLOG = 65_536
/** Names a client may be waiting for at once. */
const LOOKUPS = 32

/** Close codes of ours, in the range for applications. */
export const CLOSE = { REPLACED: 4001, MAC_TAKEN: 4002 } as const

export interface Connection {
  readonly id: string
  readonly ws: WebSocket
  /** The same connection beneath, for writing many messages at once. */
  readonly socket: Duplex
  readonly grant: Grant
  readonly room: Room
}

export class Client implements Station, Member {
  /** Of the last sign of life, on `performance.now()`. */
  seen = performance.now()
  readonly out?: (frame: Uint8Array) => void
  readonly resolve?: (name: string, type: number) => Promise<DnsAnswer>
  readonly #port: SwitchPort
  readonly #guard: PortGuard
  readonly #bytes: Bucket
  readonly #frames: Bucket
  readonly #broadcasts: Bucket
  readonly #logged = new Map<Reason, { at: number; since: number }>()
  #pending: Uint8Array[] | undefined
  #wayOut: WayOut | undefined
  #corked = false
  /** For a client that said it takes bundles. */
  #bundler: Bundler | undefined
  #lookups = 0
  #closed = false

  constructor(
    readonly connection: Connection,
    readonly options: Options,
    readonly counts: Counts,
    readonly log: Logger,
    outside: Outside | undefined,
  ) {
    const { ws, room, grant, id } = connection
    const now = this.seen
    this.#bytes = new Bucket(grant.bytesPerSecond ?? options.bytesPerSecond, now)
    this.#frames = new Bucket(grant.framesPerSecond ?? options.framesPerSecond, now)
    this.#broadcasts = new Bucket(grant.broadcastsPerSecond ?? options.broadcastsPerSecond, now)
    // Somebody who came back and has not spoken yet may be who a frame for an unknown address is for. Where there are other
    // relays such frames are for their guests, and not for everybody's ears.
    this.#port = room.lan.attach(this, { unknown: !room.federated })
    if (outside) {
      this.out = frame => {
        this.#wayOut ??= outside.open(id, frame => this.send(frame))
        this.#wayOut.send(frame)
      }
      this.resolve = async (name, type) => {
        if (this.#lookups >= LOOKUPS) return { rcode: 2 }
        this.#lookups++
        try {
          return await outside.resolve(name, type)
        } finally {
          this.#lookups--
        }
      }
    }
    const mac = grant.mac === undefined ? undefined : parseMac(grant.mac)
    this.#guard = new PortGuard(room.services, mac, mac => this.#hold(mac, false))
    if (mac !== undefined) this.#hold(mac, true)
    room.size++
    ws.on('message', (data, isBinary) => this.#receive(data as Buffer, isBinary))
    ws.on('pong', () => {
      this.seen = performance.now()
    })
    ws.on('close', () => this.#leave())
  }

  /** A frame for this client. Dropped, and counted, while it reads too slowly. */
  send(frame: Uint8Array) {
    const { ws, socket } = this.connection
    if (ws.readyState !== ws.OPEN) return
    const backlog = ws.bufferedAmount + (this.#bundler?.held ?? 0)
    if (backlog + frame.length > this.options.queueBytes) {
      countOne(this.counts.dropped, 'queue')
      return
    }
    if (!this.#corked) {
      // All that one turn of the event loop sends leaves in one system call.
      this.#corked = true
      socket.cork()
      process.nextTick(() => {
        this.#corked = false
        this.#bundler?.flush()
        socket.uncork()
      })
    }
    if (this.#bundler) this.#bundler.add(frame)
    else ws.send(backlog > COPY_BACKLOG ? frame.slice() : frame)
    this.counts.framesOut++
    this.counts.bytesOut += frame.length
  }

  replaced(why: string) {
    this.log.info({ why }, 'client replaced')
    this.connection.ws.close(CLOSE.REPLACED, why)
    this.#leave()
  }

  #receive(message: Buffer, isBinary: boolean) {
    if (this.#closed) return
    this.seen = performance.now()
    const frames = isBinary ? unbundle(message) : undefined
    if (frames && !this.#bundler) {
      const { ws } = this.connection
      this.#bundler = new Bundler(message => ws.send(message))
      ws.send(bundle([]))
    }
    for (const frame of frames ?? [message]) this.#take(frame, isBinary)
  }

  #take(frame: Uint8Array, isBinary: boolean) {
    const now = this.seen
    this.counts.framesIn++
    this.counts.bytesIn += frame.length
    if (!isBinary) return this.#refuse('text')
    if (!this.#frames.take(1, now) || !this.#bytes.take(frame.length, now)) return this.#refuse('rate')
    const refusal = this.#guard.refuse(frame)
    if (refusal) return this.#refuse(refusal)
    if (isGroupMac(readEthernet(frame)!.destination) && !this.#broadcasts.take(1, now))
      return this.#refuse('broadcasts')
    if (!this.#pending) this.#forward(frame)
    else if (this.#pending.length < PENDING_FRAMES) this.#pending.push(frame)
  }

  #forward(frame: Uint8Array) {
    const handled = this.connection.room.services.receive(frame, this)
    if (handled instanceof Promise) handled.catch(error => this.log.error({ err: error }, 'a service failed'))
    else if (!handled) this.#port.receive(frame)
  }

  #hold(mac: number, firm: boolean): boolean {
    const { room, ws } = this.connection
    const held = room.hold(mac, this, firm)
    // Said to the switch, which may never see what only the services were asked.
    const learn = () => {
      this.#port.unknown = false
      room.lan.learn(mac, this.#port)
    }
    if (!(held instanceof Promise)) {
      if (held) learn()
      return held
    }
    this.#pending = []
    const settle = (granted: boolean) => {
      const waiting = this.#pending ?? []
      this.#pending = undefined
      if (this.#closed) return
      if (granted) {
        learn()
        for (const frame of waiting) this.#forward(frame)
        return
      }
      this.#refuse('mac')
      ws.close(CLOSE.MAC_TAKEN, `${formatMac(mac)} is somebody else's in this room`)
    }
    held.then(settle, error => {
      this.log.error({ err: error }, 'the other relays could not be asked about a MAC address')
      settle(true)
    })
    return true
  }

  #refuse(reason: Reason) {
    countOne(this.counts.refused, reason)
    const entry = this.#logged.get(reason) ?? { at: Number.NEGATIVE_INFINITY, since: 0 }
    this.#logged.set(reason, entry)
    entry.since++
    if (QUIET.includes(reason) || this.seen - entry.at < LOG_EVERY) return
    const why = { ...REFUSALS, ...MORE_REFUSALS }[reason]
    this.log.warn({ reason, why, frames: entry.since, mac: this.mac }, 'frame refused')
    entry.at = this.seen
    entry.since = 0
  }

  get mac() {
    return this.#guard.mac === undefined ? undefined : formatMac(this.#guard.mac)
  }

  #leave() {
    if (this.#closed) return
    this.#closed = true
    const { room } = this.connection
    this.#port.detach()
    this.#wayOut?.close()
    if (this.#guard.mac !== undefined) room.release(this.#guard.mac, this)
    room.size--
  }
}
