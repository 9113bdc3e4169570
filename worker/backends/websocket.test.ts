import type { AddressInfo } from 'node:net'
import { afterEach, expect, test, vi } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { bundle, unbundle } from '../../src/net/bundle.ts'
import { frameTo } from '../../test/net/nic.ts'
import { WebSocketLink } from './websocket.ts'

Object.assign(globalThis, { WebSocket: globalThis.WebSocket ?? WebSocket })

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})
const until = (check: () => unknown) => vi.waitFor(() => expect(check()).toBeTruthy(), { timeout: 20_000, interval: 5 })

async function relay(port = 0) {
  const server = new WebSocketServer({ port, host: '127.0.0.1' })
  await new Promise(resolve => server.once('listening', resolve))
  const got: Buffer[] = []
  const hellos: Buffer[] = []
  // Each begins by saying that it takes bundles, which most relays do not care about.
  server.on('connection', socket =>
    socket.on('message', data => void (unbundle(data as Buffer)?.length === 0 ? hellos : got).push(data as Buffer)),
  )
  const stop = () => {
    for (const client of server.clients) client.terminate()
    return new Promise(resolve => server.close(resolve))
  }
  closing.push(stop)
  return { server, got, hellos, stop, port: (server.address() as AddressInfo).port }
}
function plugIn(port: number) {
  const got: Uint8Array[] = []
  const link: boolean[] = []
  const backend = new WebSocketLink({ url: `ws://127.0.0.1:${port}/` })
  closing.push(() => backend.close())
  backend.connect({ receive: frame => void got.push(frame), link: up => void link.push(up) })
  return { backend, got, link }
}

test('every frame is one binary message, both ways; the link follows the connection', async () => {
  const { server, got: sent, port } = await relay()
  const { backend, got, link } = plugIn(port)
  expect(link).toEqual([false])
  await until(() => link.at(-1))
  backend.send(frameTo(2, 60))
  backend.send(frameTo(2, 1514))
  await until(() => sent.length === 2)
  expect(sent.map(frame => frame.length)).toEqual([60, 1514])
  for (const client of server.clients) {
    client.send('text is no frame')
    client.send(frameTo(3, 77))
  }
  await until(() => got.length > 0)
  expect(got.map(frame => Buffer.from(frame))).toEqual([Buffer.from(frameTo(3, 77))])
})

test('a relay that says it takes bundles gets what was sent in one go as one message, until the connection ends', async () => {
  const { server, got: sent, hellos, port, stop } = await relay()
  const { backend, got, link } = plugIn(port)
  await until(() => link.at(-1) && hellos.length === 1)
  for (const client of server.clients) client.send(bundle([frameTo(3, 70), frameTo(3, 80)]))
  await until(() => got.length === 2)
  expect(got.map(frame => Buffer.from(frame))).toEqual([Buffer.from(frameTo(3, 70)), Buffer.from(frameTo(3, 80))])
  for (let i = 0; i < 3; i++) backend.send(frameTo(2, 1514))
  await until(() => sent.length === 1)
  expect(unbundle(sent[0]!)!.map(({ length }) => length)).toEqual([1514, 1514, 1514])
  // After a turn of one frame the next does not wait for its turn to end; what follows it does.
  backend.send(frameTo(2, 61))
  await until(() => sent.length === 2)
  for (const length of [62, 63, 64]) backend.send(frameTo(2, length))
  await until(() => sent.length === 4)
  expect(sent[2]!.length).toBe(62)
  expect(unbundle(sent[3]!)!.map(({ length }) => length)).toEqual([63, 64])
  await stop()
  const plain = await relay(port)
  await until(() => link.filter(Boolean).length === 2)
  for (let i = 0; i < 3; i++) backend.send(frameTo(2, 60))
  await until(() => plain.got.length === 3)
})

test('a relay that comes back is found again, and nothing old is sent to it', { timeout: 30_000 }, async () => {
  const first = await relay()
  const { backend, link } = plugIn(first.port)
  await until(() => link.at(-1))
  await first.stop()
  await until(() => !link.at(-1))
  backend.send(frameTo(2, 99))
  expect(backend.dropped).toBe(1)
  const second = await relay(first.port)
  await until(() => link.at(-1))
  backend.send(frameTo(2, 60))
  await until(() => second.got.length === 1)
  expect(second.got[0]!.length).toBe(60)
  expect(link).toEqual([false, true, false, true])
})

test('a socket that does not drain loses frames, and holds no more than its limit', async () => {
  const { server, port } = await relay()
  const { backend, link } = plugIn(port)
  await until(() => link.at(-1))
  for (const client of server.clients) client.pause()
  const frame = frameTo(2, 65_000)
  for (let i = 0; i < 500; i++) backend.send(frame)
  expect(backend.dropped).toBeGreaterThan(0)
})
