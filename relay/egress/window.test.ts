import { expect, test } from 'vitest'
import { onesSum } from '../../src/net/checksum.ts'
import { viewOf } from '../../src/net/ethernet.ts'
import { pseudoSum, TCP, TcpHeader } from '../../src/net/tcp.ts'
import { tcpFrame } from '../../test/net/tcp-frame.ts'
import { WindowLimit } from './window.ts'

const TCP_AT = 34
const BUDGET = 1 << 20

interface Said {
  readonly flags?: number
  readonly options?: readonly number[]
  readonly window?: number
  readonly port?: number
}

/** A guest's segment, finished: options stand where the payload would. */
function segment({ flags = TCP.ACK, options = [], window = 50_000, port = 40_000 }: Said = {}) {
  const { frame } = tcpFrame({ payload: Uint8Array.from(options), flags })
  const header = new TcpHeader(viewOf(frame), TCP_AT)
  Object.assign(header, { source: port, window, dataOffset: (20 + options.length) << 2, checksum: 0 })
  header.checksum = ~sum(frame) & 0xffff
  return frame
}
const sum = (frame: Uint8Array) =>
  onesSum(Uint8Array.of(0, 0, ...frame.subarray(TCP_AT)), 2) + pseudoSum(frame, 14, 4, 6, frame.length - TCP_AT)
const right = (frame: Uint8Array) => (sum(frame) & 0xffff) + (sum(frame) >> 16) === 0xffff
const windowOf = (frame: Uint8Array) => new TcpHeader(viewOf(frame), TCP_AT).window
const syn = (port = 40_000) => segment({ flags: TCP.SYN, options: [2, 4, 5, 180, 1, 3, 3, 7], window: 64_240, port })
const apply = (limit: WindowLimit, frame: Uint8Array, now = 0) => {
  limit.apply(frame, now)
  return frame
}

test('a window that offers more than the socket holds is made as large as that, and the checksum stays right', () => {
  const limit = new WindowLimit(BUDGET)
  expect(windowOf(apply(limit, syn()))).toBe(64_240)
  const frame = apply(limit, segment())
  expect(windowOf(frame)).toBe(BUDGET >> 7)
  expect(right(frame)).toBe(true)
})

test('a smaller window, a SYN, other protocols and connections that began before are left alone', () => {
  const limit = new WindowLimit(BUDGET)
  const unknown = segment()
  expect(apply(limit, segment())).toEqual(unknown)
  apply(limit, syn())
  const small = segment({ window: 8000 })
  expect(apply(limit, segment({ window: 8000 }))).toEqual(small)
  const udp = segment()
  udp[23] = 17
  expect(apply(limit, udp.slice())).toEqual(udp)
})

test('without scaling no window is larger than 64 KiB, and none is touched', () => {
  const limit = new WindowLimit(BUDGET)
  apply(limit, segment({ flags: TCP.SYN }))
  expect(windowOf(apply(limit, segment({ window: 65_535 })))).toBe(65_535)
})

test('connections that speak share what there is; those that fell silent have no part in it', () => {
  const limit = new WindowLimit(BUDGET)
  for (let port = 1; port <= 4; port++) apply(limit, syn(port))
  expect(windowOf(apply(limit, segment({ port: 1 })))).toBe(BUDGET / 4 / 128)
  expect(windowOf(apply(limit, segment({ port: 1 }), 2000))).toBe(BUDGET / 128)
})

test('frames cut short anywhere harm nothing', () => {
  const limit = new WindowLimit(BUDGET)
  const whole = syn()
  for (let length = 34; length < whole.length; length++) limit.apply(whole.slice(0, length), 0)
  const odd = segment({ flags: TCP.SYN, options: [8, 0, 3, 1] })
  limit.apply(odd, 0)
})
