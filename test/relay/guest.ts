/** A guest on a relay: a WebSocket and the frames that came by it. */

import { type ClientOptions, WebSocket } from 'ws'
import { readEthernet } from '../../src/net/ethernet.ts'
import { formatIp } from '../../src/net/ipv4.ts'
import { arpIn, arpRequest, type End, GATEWAY, icmpIn, obtainAddress, pingFrame } from './station.ts'

export interface GuestOptions extends ClientOptions {
  /** Added to the relay's URL, such as `?room=lab`. */
  readonly query?: string
  readonly protocols?: string[]
  readonly mac?: number
}

let serial = 0

export class Guest {
  readonly frames: Uint8Array[] = []
  readonly mac: number
  ip = 0
  closed: { code: number; reason: string } | undefined
  readonly #waiting = new Set<() => void>()

  private constructor(
    readonly ws: WebSocket,
    mac?: number,
  ) {
    this.mac = mac ?? 0x020000000000 + ++serial * 16
    ws.on('message', (data, isBinary) => {
      if (isBinary) this.frames.push(data as Buffer)
      this.#wake()
    })
    ws.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() }
      this.#wake()
    })
    ws.on('error', () => {})
  }

  /** Fails with the relay's answer where it does not let the guest in. */
  static connect(url: string, { query = '', protocols = [], mac, ...options }: GuestOptions = {}): Promise<Guest> {
    const ws = new WebSocket(url + query, protocols, { perMessageDeflate: false, ...options })
    const guest = new Guest(ws, mac)
    return new Promise((resolve, fail) => {
      ws.on('open', () => resolve(guest))
      ws.on('error', fail)
      ws.on('unexpected-response', (_, response) => {
        let body = ''
        response.on('data', part => {
          body += part
        })
        response.on('end', () => fail(Object.assign(new Error(body), { status: response.statusCode })))
        response.on('error', fail)
      })
    })
  }

  get end(): End {
    return { mac: this.mac, ip: this.ip }
  }

  send(frame: Uint8Array) {
    this.ws.send(frame)
  }

  /** The first frame, of those that came and those to come, for which `is` gives something. It is taken out. */
  async next<T>(is: (frame: Uint8Array) => T | undefined | false, what = 'a frame', milliseconds = 20_000): Promise<T> {
    const deadline = Date.now() + milliseconds
    for (;;) {
      for (const [index, frame] of this.frames.entries()) {
        const found = is(frame)
        if (found) {
          this.frames.splice(index, 1)
          return found
        }
      }
      if (this.closed)
        throw new Error(`waiting for ${what}: the relay closed with ${this.closed.code} ${this.closed.reason}`)
      const left = deadline - Date.now()
      if (left <= 0) throw new Error(`${formatIp(this.ip)} waited ${milliseconds} ms for ${what}`)
      await this.#change(left)
    }
  }

  async whenClosed(milliseconds = 20_000) {
    const deadline = Date.now() + milliseconds
    while (!this.closed) {
      const left = deadline - Date.now()
      if (left <= 0) throw new Error(`the relay did not close the connection in ${milliseconds} ms`)
      await this.#change(left)
    }
    return this.closed
  }

  /** Sends a frame and waits for what comes back. */
  ask(frame: Uint8Array) {
    this.send(frame)
    return this.next(frame => frame, 'an answer')
  }

  /** Gets an address by DHCP. */
  async dhcp(hostName?: string) {
    this.ip = await obtainAddress(this.mac, frame => this.ask(frame), hostName)
    return this.ip
  }

  /** Round trip of a ping, in milliseconds; the target is the gateway unless told otherwise. */
  async ping(to: End = GATEWAY, milliseconds?: number) {
    const start = performance.now()
    this.send(pingFrame(this.end, to))
    await this.next(frame => icmpIn(frame)?.type === 0, `a pong of ${formatIp(to.ip)}`, milliseconds)
    return performance.now() - start
  }

  /** Answers pings as a guest's kernel would: those to itself, and none to everybody. */
  serve() {
    this.ws.on('message', data => {
      const frame = data as Buffer
      const mine = readEthernet(frame)?.destination === this.mac
      if (mine && icmpIn(frame)?.type === 8) this.send(pong(frame))
    })
    return this
  }

  /** Asks by ARP who has an address. */
  async resolve(ip: number) {
    this.send(arpRequest(this.mac, this.ip, ip))
    return this.next(frame => arpIn(frame)?.senderIp === ip && arpIn(frame)?.senderMac, `ARP of ${formatIp(ip)}`)
  }

  /** Everything sent before this was dealt with when it settles: a ping to the gateway came back. */
  async settle() {
    await this.ping()
    return this.frames.splice(0)
  }

  close() {
    this.ws.terminate()
  }

  #change(milliseconds: number) {
    return new Promise<void>(resolve => {
      const done = () => {
        clearTimeout(timer)
        this.#waiting.delete(done)
        resolve()
      }
      const timer = setTimeout(done, milliseconds)
      this.#waiting.add(done)
    })
  }

  #wake() {
    for (const done of [...this.#waiting]) done()
  }
}

/** Swaps the ends of a ping, which leaves its checksums right but for the type's part. */
export function pong(ping: Uint8Array) {
  const frame = Uint8Array.from(ping)
  frame.copyWithin(0, 6, 12)
  frame.set(ping.subarray(0, 6), 6)
  frame.copyWithin(26, 30, 34)
  frame.set(ping.subarray(26, 30), 30)
  frame[34] = 0
  const sum = ((ping[36]! << 8) | ping[37]!) + 0x0800
  const folded = (sum & 0xffff) + (sum >> 16)
  frame[36] = folded >> 8
  frame[37] = folded & 255
  return frame
}
