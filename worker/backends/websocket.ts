/** A network link to a relay: one raw Ethernet frame in each binary message, as websockproxy and v86's relays speak it. */

import ReconnectingWebSocket from 'partysocket/ws'
import type { NetBackend, NetPort } from '../../src/devices/net-backend.ts'

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
      if (up) this.connections++
      this.port?.link(up)
      changed?.(up, reason)
    }
    this.socket.onopen = () => show(true)
    this.socket.onclose = ({ reason }) => show(false, reason)
    this.socket.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) this.port?.receive(new Uint8Array(data))
    }
  }

  connect(port: NetPort) {
    this.port = port
    port.link(this.up)
  }

  send(frame: Uint8Array) {
    const { socket } = this
    if (socket.readyState !== socket.OPEN || socket.bufferedAmount + frame.length > this.limit) this.dropped++
    else socket.send(frame as Uint8Array<ArrayBuffer>)
  }

  close() {
    this.socket.close()
  }
}
