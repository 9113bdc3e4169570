/**
 * A network link to a relay: one raw Ethernet frame in each binary message, as websockproxy and v86's relays speak it, or
 * several with a relay that takes bundles.
 */

import ReconnectingWebSocket from 'partysocket/ws'
import type { NetBackend, NetPort } from '../../src/devices/net-backend.ts'
import { Bundler, bundle, unbundle } from '../../src/net/bundle.ts'

export interface WebSocketLinkOptions {
  /** `ws:` or `wss:`. What the relay wants to know (room, token) is in its query. */
  readonly url: string
  /** Bytes that may wait in the socket; a frame that finds more is lost. 4 MiB if absent. */
  readonly limit?: number
  /** The link came up, or went down. */
  readonly changed?: (up: boolean, reason?: string) => void
}

/** Shortest and longest wait before the next attempt, in milliseconds: a relay that restarts is found again in seconds. */
const RETRY = { least: 250, most: 2000 }
/** How long an attempt may take, in milliseconds. */
const PATIENCE = 4000

export class WebSocketLink implements NetBackend {
  /** Frames lost because the link was down or the socket full. */
  dropped = 0
  /** How often the link came up. */
  connections = 0
  private readonly socket: ReconnectingWebSocket
  private readonly limit: number
  private port: NetPort | undefined
  private up = false
  /** What is sent until the guest stops goes together; absent as long as the relay has not said that it takes bundles. */
  private bundler: Bundler | undefined
  /** Frames sent since the guest last stopped, and whether it was a single one the time before: then the first need not wait. */
  private turn = 0
  private alone = false

  constructor({ url, limit = 4 << 20, changed }: WebSocketLinkOptions) {
    this.limit = limit
    this.socket = new ReconnectingWebSocket(url, undefined, {
      maxEnqueuedMessages: 0, // a frame that is late is worth less than none
      minReconnectionDelay: RETRY.least,
      maxReconnectionDelay: RETRY.most,
      reconnectionDelayGrowFactor: 1.6,
      minUptime: 1000,
      connectionTimeout: PATIENCE,
    })
    this.socket.binaryType = 'arraybuffer'
    const show = (up: boolean, reason?: string) => {
      if (this.up === up) return
      this.up = up
      this.bundler = undefined
      if (up) {
        this.connections++
        this.socket.send(bundle([]))
      }
      this.port?.link(up)
      changed?.(up, reason)
    }
    this.socket.onopen = () => show(true)
    this.socket.onclose = ({ reason }) => show(false, reason)
    this.socket.onmessage = ({ data }) => {
      if (!(data instanceof ArrayBuffer)) return
      const message = new Uint8Array(data)
      const frames = unbundle(message)
      if (frames) this.bundler ??= new Bundler(message => this.socket.send(message as Uint8Array<ArrayBuffer>))
      for (const frame of frames ?? [message]) this.port?.receive(frame)
    }
  }

  connect(port: NetPort) {
    this.port = port
    port.link(this.up)
  }

  send(frame: Uint8Array) {
    const { socket, bundler } = this
    const waiting = socket.bufferedAmount + (bundler?.held ?? 0)
    if (socket.readyState !== socket.OPEN || waiting + frame.length > this.limit) this.dropped++
    else if (bundler) {
      if (this.turn++ === 0) queueMicrotask(() => this.endTurn())
      if (this.turn === 1 && this.alone) socket.send(frame as Uint8Array<ArrayBuffer>)
      else bundler.add(frame)
    } else socket.send(frame as Uint8Array<ArrayBuffer>)
  }

  private endTurn() {
    this.alone = this.turn === 1
    this.turn = 0
    this.bundler?.flush()
  }

  close() {
    this.socket.close()
  }
}
