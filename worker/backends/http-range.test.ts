import { afterEach, beforeEach, expect, test } from 'vitest'
import { BackendError } from '../../src/virtio/machine.ts'
import { imageServer, type Mischief } from '../../test/disk/image-server.ts'
import { openHttpImage } from './http-range.ts'

const CHUNK = 256 * 1024
const IMAGE = Uint8Array.from({ length: 4 * CHUNK + 512 }, (_, i) => (i * 7 + (i >> 9)) & 0xff)
const quick = { delays: [1, 1], timeout: 200 }
let server: Awaited<ReturnType<typeof imageServer>>
const files = new Map<string, Uint8Array>()
beforeEach(async () => {
  files.set('/disk.img', IMAGE)
  server = await imageServer(files)
})
afterEach(() => server.close())
const open = (options = {}) => openHttpImage(`${server.url}/disk.img`, { ...quick, ahead: 0, ...options })
const read = async (
  disk: { read(offset: number, target: Uint8Array): Promise<void> },
  offset: number,
  length: number,
) => {
  const bytes = new Uint8Array(length)
  await disk.read(offset, bytes)
  return Buffer.compare(bytes, IMAGE.subarray(offset, offset + length)) === 0
}
const answers =
  (status: number, headers: Record<string, string> = {}, body = new Uint8Array(512)): Mischief =>
  (_, response) => {
    response.writeHead(status, headers).end(body)
    return true
  }
const breaks: Mischief = request => {
  request.socket.destroy()
  return true
}

test('any sectors of a raw image, across chunks, up to its end', async () => {
  const { disk } = await open()
  expect(disk.capacity).toBe(IMAGE.length)
  expect(await read(disk, 512, 1024)).toBe(true)
  expect(await read(disk, CHUNK - 512, 2 * CHUNK)).toBe(true)
  expect(await read(disk, IMAGE.length - 512, 512)).toBe(true)
})

test('what was fetched is at hand', async () => {
  const { disk } = await open()
  await read(disk, CHUNK, 512)
  const before = server.requests
  expect([disk.readNow(CHUNK + 512, new Uint8Array(512)), disk.readNow(3 * CHUNK, new Uint8Array(512))]).toEqual([
    true,
    false,
  ])
  expect(server.requests).toBe(before)
})

test('many readers of one chunk are one request', async () => {
  const { disk } = await open()
  const before = server.requests
  await Promise.all(Array.from({ length: 20 }, (_, i) => read(disk, 2 * CHUNK + i * 512, 512)))
  expect(server.requests - before).toBe(1)
})

test.each<[string, Mischief, RegExp]>([
  ['ignores Range', answers(200, {}, IMAGE), /no Range requests/],
  ['has no such file', answers(404), /answered 404/],
  [
    'sends other bytes than asked for',
    answers(206, { 'content-range': 'bytes 0-511/512' }),
    /asked for .* the server sent/,
  ],
  ['says nothing of which bytes', answers(206), /Content-Range/],
])('a server that %s is refused at once, and clearly', async (_, mischief, message) => {
  const { disk } = await open()
  server.mischief = mischief
  const before = server.requests
  const failure = await read(disk, CHUNK, 512).catch(error => error)
  expect(failure).toBeInstanceOf(BackendError)
  expect(failure.message).toMatch(message)
  expect(server.requests - before).toBe(1)
})

test.each<[string, Mischief]>([
  ['cuts the answer short', answers(206, { 'content-range': `bytes ${CHUNK}-${2 * CHUNK - 1}/${IMAGE.length}` })],
  ['breaks the connection', breaks],
  ['fails for the moment', answers(503)],
  ['never answers', () => true],
])('a server that %s is asked again, so many times, and then it is an error', async (_, mischief) => {
  const { disk } = await open()
  server.mischief = mischief
  const before = server.requests
  await expect(read(disk, CHUNK, 512)).rejects.toThrow(/tried 3 times/)
  expect(server.requests - before).toBe(3)
  let left = 1
  server.mischief = (request, response) => left-- > 0 && mischief(request, response)
  expect(await read(disk, CHUNK, 512)).toBe(true)
})

test('a file that changes under way is an error, never other bytes', async () => {
  const { disk } = await open()
  files.set(
    '/disk.img',
    IMAGE.map(byte => byte ^ 1),
  )
  await expect(read(disk, CHUNK, 512)).rejects.toThrow(/was changed on the server/)
  files.set('/disk.img', IMAGE.slice(0, 3 * CHUNK))
  await expect(read(disk, CHUNK, 512)).rejects.toThrow(/was changed on the server/)
})

test('a sequential reader has several requests under way, and never more than allowed', async () => {
  const { disk } = await open({ ahead: 3, flights: 4 })
  server.mischief = () => new Promise(resolve => setTimeout(() => resolve(false), 20))
  for (let at = 0; at < 4 * CHUNK; at += CHUNK / 4) expect(await read(disk, at, CHUNK / 4)).toBe(true)
  expect(server.most).toBeGreaterThan(1)
  expect(server.most).toBeLessThanOrEqual(4)
})
