import { afterEach, expect, test, vi } from 'vitest'
import type { NetBackend } from '../../src/devices/net-backend.ts'
import type { Offload } from '../../src/net/checksum.ts'
import { formatIp } from '../../src/net/ipv4.ts'
import { frameTo } from '../../test/net/nic.ts'
import { obtainAddress } from '../../test/relay/station.ts'
import { packFrames, unpackFrames } from './frame-batch.ts'
import { Lan } from './lan.ts'

const A = 0x02000000000a
const B = 0x02000000000b
const hex = (frame: Uint8Array | undefined) => frame && Buffer.from(frame).toString('hex')

interface Station {
  readonly backend: NetBackend
  readonly got: { readonly frame: Uint8Array; readonly offload: Offload | undefined }[]
}
const opened: NetBackend[] = []
/** A card on the segment, in a tab of its own unless it is given one. */
function plugIn(lan = new Lan('test')): Station {
  const got: Station['got'] = []
  const backend = lan.attach()
  opened.push(backend)
  backend.connect({ receive: (frame, offload) => void got.push({ frame, offload }), link() {} })
  return { backend, got }
}
afterEach(() => {
  for (const backend of opened.splice(0)) backend.close!()
})
const from = (frame: Uint8Array, mac: number) => {
  frame.set([2, 0, 0, 0, 0, mac & 255], 6)
  return frame
}
const until = (check: () => unknown) => vi.waitFor(() => expect(check()).toBeTruthy(), { timeout: 10_000, interval: 5 })
/** Two tabs that know each other. */
async function tabs() {
  const lans = [new Lan('test'), new Lan('test')] as const
  const [a, b] = [plugIn(lans[0]), plugIn(lans[1])]
  await until(() => lans[0].peers === 1 && lans[1].peers === 1)
  return { lans, a, b }
}

test('frames in a batch come out as they went in', () => {
  const frames: [Uint8Array, Offload | undefined][] = [
    [frameTo(A, 60), undefined],
    [frameTo(B, 9000), { start: 34, offset: 16, segment: 1448, ecn: true }],
    [frameTo(B, 61), { start: 34, offset: 6 }],
  ]
  expect([...unpackFrames(packFrames(frames))]).toEqual(frames)
})

test('two cards of one page reach each other, offloads and all', () => {
  const lan = new Lan('test')
  const [a, b, c] = [plugIn(lan), plugIn(lan), plugIn(lan)]
  b.backend.send(from(frameTo(2 ** 48 - 1), B))
  const offload = { start: 34, offset: 16, segment: 100 }
  a.backend.send(frameTo(B, 5000), offload)
  expect(b.got).toEqual([{ frame: frameTo(B, 5000), offload }])
  expect(c.got.length).toBe(1)
})

test('cards of two tabs reach each other, and only whom a frame is for', async () => {
  const { a, b, lans } = await tabs()
  const c = plugIn()
  await until(() => lans[0].peers === 2)
  b.backend.send(from(frameTo(2 ** 48 - 1), B))
  await until(() => a.got.length === 1 && c.got.length === 1)
  const offload = { start: 34, offset: 16, segment: 1448 }
  a.backend.send(from(frameTo(B, 20_000), A), offload)
  await until(() => b.got.length === 1)
  expect(hex(b.got[0]!.frame)).toBe(hex(from(frameTo(B, 20_000), A)))
  expect(b.got[0]!.offload).toEqual(offload)
  expect(c.got.length).toBe(1)
})

test('frames stay in order between tabs', async () => {
  const { a, b } = await tabs()
  b.backend.send(from(frameTo(A), B))
  await until(() => a.got.length === 1)
  for (let i = 0; i < 1000; i++) a.backend.send(from(frameTo(B, 100 + i), A))
  await until(() => b.got.length === 1000)
  expect(b.got.map(({ frame }) => frame.length)).toEqual(Array.from({ length: 1000 }, (_, i) => 100 + i))
})

test('a tab is sent what it keeps up with, however much; beyond 16 MiB on their way frames are lost, and counted', async () => {
  const { a, b, lans } = await tabs()
  b.backend.send(from(frameTo(A), B))
  await until(() => a.got.length === 1)
  const large = from(frameTo(B, 60_000), A)
  for (let batch = 1; batch <= 10; batch++) {
    for (let i = 0; i < 40; i++) a.backend.send(large)
    await until(() => b.got.length === 40 * batch)
  }
  expect(lans[0].dropped).toBe(0)
  for (let i = 0; i < 400; i++) a.backend.send(large)
  const { dropped } = lans[0]
  expect(dropped).toBeGreaterThan(100)
  await until(() => b.got.length === 800 - dropped)
  await until(() => {
    const before = lans[0].dropped
    a.backend.send(large)
    return lans[0].dropped === before
  })
})

test('a tab that closes is forgotten', async () => {
  const { b, lans } = await tabs()
  b.backend.close!()
  opened.splice(opened.indexOf(b.backend), 1)
  await until(() => lans[0].peers === 0)
})

test('stations of two tabs get different addresses, and each tab knows the other’s', async () => {
  const { a, b, lans } = await tabs()
  const ask = (station: Station) => async (frame: Uint8Array) => {
    const before = station.got.length
    station.backend.send(frame)
    await until(() => station.got.length > before)
    return station.got[before]!.frame
  }
  // The same station twice would be given the same address, were nobody to object.
  const first = await obtainAddress(A, ask(a))
  const second = await obtainAddress(A + 0xfffffffb - (A % 1), ask(b))
  expect(formatIp(first)).not.toBe(formatIp(second))
  await until(() => lans[0].services.addresses.at(second) && lans[1].services.addresses.at(first))
})

test('an address somebody else has is objected to', async () => {
  const { lans } = await tabs()
  const lease = { ip: 0x0a000250, mac: A, until: performance.now() + 60_000 }
  lans[0].services.addresses.set(lease)
  expect(lans[1].services.admit(lease.ip, B)).toBe(true) // for now: nobody has answered yet
  await until(() => lans[1].services.addresses.at(lease.ip) === undefined)
})
