/**
 * As much TCP as a download by a guest takes: in order only, every second segment acknowledged. Its window is small enough for
 * the socket of passt, which drops what does not fit: a kernel would keep what follows a gap, this does not.
 */

import { writeEthernet } from '../../src/net/ethernet.ts'
import { internetChecksum, PROTOCOL, writeIpv4 } from '../../src/net/ipv4.ts'
import { ipBytes } from '../../src/net/lan-services.ts'
import type { Guest } from './guest.ts'
import { GATEWAY, icmpIn, ipv4In } from './station.ts'

const FLAG = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16 }
const WINDOW_SCALE = 4
const WINDOW = 96 * 1024
/** Acknowledgements that say nothing new, at most one in so many milliseconds: three of them mean a loss. */
const REPEAT = 20
let nextPort = 20_000

function segment(
  guest: Guest,
  to: number,
  ports: [number, number],
  seq: number,
  ack: number,
  flags: number,
  body: Uint8Array,
) {
  const syn = (flags & FLAG.SYN) !== 0
  const options = syn ? [2, 4, 1460 >> 8, 1460 & 255, 1, 3, 3, WINDOW_SCALE] : []
  const header = 20 + options.length
  const bytes = new Uint8Array(header + body.length)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, ports[0])
  view.setUint16(2, ports[1])
  view.setUint32(4, seq)
  view.setUint32(8, ack)
  bytes[12] = (header / 4) << 4
  bytes[13] = flags
  view.setUint16(14, syn ? 65_535 : WINDOW >> WINDOW_SCALE)
  bytes.set(options, 20)
  bytes.set(body, header)
  const pseudo = Uint8Array.of(
    ...ipBytes(guest.ip),
    ...ipBytes(to),
    0,
    PROTOCOL.TCP,
    bytes.length >> 8,
    bytes.length & 255,
  )
  view.setUint16(16, internetChecksum(bytes, ~internetChecksum(pseudo) & 0xffff))
  return writeEthernet(GATEWAY.mac, guest.mac, 0x0800, writeIpv4(guest.ip, to, PROTOCOL.TCP, bytes))
}

export interface Download {
  /** Bytes of the response, its head included. */
  readonly length: number
  readonly milliseconds: number
}

/**
 * Requests `path` and hands the response's bytes to `data` as they come. Fails where the connection is refused, told to be
 * impossible, or silent for `patience` milliseconds.
 */
export function download(
  guest: Guest,
  to: number,
  port: number,
  path: string,
  data: (bytes: Uint8Array) => void,
  patience = 20_000,
): Promise<Download> {
  const ports: [number, number] = [nextPort++, port]
  const none = new Uint8Array(0)
  const start = performance.now()
  let seq = 1000
  let expected = 0
  let connected = false
  let length = 0
  const send = (flags: number, body = none) => guest.send(segment(guest, to, ports, seq, expected, flags, body))
  return new Promise((resolve, fail) => {
    let last = performance.now()
    let repeated = 0
    let segments = 0
    const watch = setInterval(() => {
      if (performance.now() - last > patience) end(new Error(`silence for ${patience} ms after ${length} bytes`))
    }, 100)
    const end = (error?: Error) => {
      clearInterval(watch)
      guest.ws.off('message', receive)
      if (error) fail(error)
      else resolve({ length, milliseconds: performance.now() - start })
    }
    const receive = (frame: Buffer) => {
      guest.frames.length = 0
      const icmp = icmpIn(frame)
      if (icmp?.type === 3) return end(new Error(`unreachable, code ${icmp.code}`))
      const packet = ipv4In(frame)
      if (packet?.header.protocol !== PROTOCOL.TCP || packet.header.source !== to) return
      const { payload } = packet
      const view = new DataView(payload.buffer, payload.byteOffset, payload.length)
      if (view.getUint16(2) !== ports[0]) return
      const flags = payload[13]!
      last = performance.now()
      if (flags & FLAG.RST) return end(new Error('connection refused or reset'))
      if (!connected) {
        if ((flags & (FLAG.SYN | FLAG.ACK)) !== (FLAG.SYN | FLAG.ACK)) return
        connected = true
        expected = (view.getUint32(4) + 1) >>> 0
        seq++
        const request = Buffer.from(`GET ${path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n`)
        // As kernels do; passt takes no data from the segment that completes the handshake.
        send(FLAG.ACK)
        send(FLAG.ACK | FLAG.PSH, request)
        seq += request.length
        return
      }
      const body = payload.subarray((payload[12]! >> 4) * 4)
      if (view.getUint32(4) !== expected) {
        if (body.length && last - repeated > REPEAT) {
          repeated = last
          send(FLAG.ACK)
        }
        return
      }
      if (body.length) data(body)
      length += body.length
      expected = (expected + body.length + (flags & FLAG.FIN)) >>> 0
      segments++
      const whole = body.length === 1460 && segments % 2 === 1
      if (!whole && (body.length || flags & FLAG.FIN)) send(flags & FLAG.FIN ? FLAG.ACK | FLAG.FIN : FLAG.ACK)
      if (flags & FLAG.FIN) end()
    }
    guest.ws.on('message', receive)
    send(FLAG.SYN)
  })
}
