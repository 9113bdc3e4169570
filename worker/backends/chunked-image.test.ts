import 'fake-indexeddb/auto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { pack, verify } from '../../cli/image.ts'
import { imageServer } from '../../test/disk/image-server.ts'
import { MemoryStore } from './block-store.ts'
import { IndexedDbChunkCache } from './chunk-cache.ts'
import { chunkPath, openChunkedImage } from './chunked-image.ts'
import { Overlay } from './overlay.ts'

const CHUNK = 64 * 1024
const IMAGE = new Uint8Array(10 * CHUNK + 1536)
for (let i = 0; i < IMAGE.length; i++) {
  const chunk = Math.floor(i / CHUNK)
  // Chunks 2 to 4 are zeroes, and chunk 6 is chunk 5 again.
  if (chunk < 2 || chunk > 4) IMAGE[i] = ((i % CHUNK) >> 8) + 31 * (chunk === 6 ? 5 : chunk) + i
}
const quick = { delays: [1, 1], timeout: 500 }
let folder: string
let server: Awaited<ReturnType<typeof imageServer>>
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'image-'))
  writeFileSync(join(folder, 'disk.img'), IMAGE)
  await pack(join(folder, 'disk.img'), join(folder, 'packed'), { chunk: 64, level: 3 })
  server = await imageServer(join(folder, 'packed'))
})
afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true })
})
const open = (options = {}) => openChunkedImage(`${server.url}/manifest.json`, { ...quick, ahead: 0, ...options })
const read = async (
  disk: { read(offset: number, target: Uint8Array): Promise<void> | void },
  offset: number,
  length: number,
) => {
  const bytes = new Uint8Array(length).fill(0xee)
  await disk.read(offset, bytes)
  return Buffer.compare(bytes, IMAGE.subarray(offset, offset + length)) === 0
}
const fresh = () => IndexedDbChunkCache.open(2 ** 20, `cache-${Math.random()}`)

test('the image comes back, zero chunks without a request', async () => {
  const { disk } = await open()
  const before = server.requests
  expect(disk.capacity).toBe(IMAGE.length)
  expect([await read(disk, 2 * CHUNK, 3 * CHUNK), server.requests - before]).toEqual([true, 0])
  expect(disk.readNow(3 * CHUNK, new Uint8Array(CHUNK))).toBe(true)
  expect(await read(disk, 0, IMAGE.length)).toBe(true)
})

test('a chunk that is damaged on the way is fetched again or refused, never believed', async () => {
  const { disk } = await open()
  const { chunks } = JSON.parse(readFileSync(join(folder, 'packed/manifest.json'), 'utf8'))
  const good = readFileSync(join(folder, 'packed', chunkPath(chunks[0])))
  const bad = Buffer.from(good)
  bad[bad.length >> 1]! ^= 0x55
  server.mischief = (_, response) => {
    response.end(bad)
    return true
  }
  await expect(read(disk, 0, 512)).rejects.toThrow(/not what the manifest says/)
  server.mischief = undefined
  expect(await read(disk, 0, 512)).toBe(true)
})

test('chunks of another image under the same names are refused', async () => {
  const { disk } = await open()
  const { chunks } = JSON.parse(readFileSync(join(folder, 'packed/manifest.json'), 'utf8'))
  server.mischief = (_, response) => {
    response.end(readFileSync(join(folder, 'packed', chunkPath(chunks[1]))))
    return true
  }
  await expect(read(disk, 0, 512)).rejects.toThrow(/not what the manifest says/)
  server.mischief = undefined
})

test.each([
  ['no JSON', '<!doctype html>', /it is not JSON/],
  ['something else', '{"format":"tar"}', /format/],
  [
    'too few chunks',
    '{"format":"ringlet-chunks","version":1,"size":1024,"chunkSize":4096,"chunks":[]}',
    /number of chunks/,
  ],
])('a manifest that is %s is refused', async (_, text, message) => {
  server.mischief = (request, response) => {
    if (request.url !== '/manifest.json') return false
    response.end(text)
    return true
  }
  await expect(open()).rejects.toThrow(message)
  server.mischief = undefined
})

describe('the chunk cache', () => {
  test('answers without the network, in a later session too', async () => {
    const name = `cache-${Math.random()}`
    const first = await open({ cache: await IndexedDbChunkCache.open(2 ** 20, name) })
    expect(await read(first.disk, 0, IMAGE.length)).toBe(true)
    await new Promise(resolve => setTimeout(resolve, 50))
    const again = await open({ cache: await IndexedDbChunkCache.open(2 ** 20, name) })
    const before = server.requests
    expect(await read(again.disk, 0, IMAGE.length)).toBe(true)
    expect([server.requests - before, again.source.counts.fetched]).toEqual([0, 0])
  })
  test('a damaged entry is dropped and fetched', async () => {
    const cache = await fresh()
    const { disk, manifest } = await open({ cache })
    await cache.put(manifest.chunks[0]!, Uint8Array.of(1, 2, 3))
    expect(await read(disk, 0, 512)).toBe(true)
  })
  test('keeps to its limit, and lets go what was unused the longest', async () => {
    const cache = await IndexedDbChunkCache.open(1600, `cache-${Math.random()}`)
    for (const hash of ['a', 'b', 'c', 'd']) {
      await cache.put(hash, new Uint8Array(500))
      await new Promise(resolve => setTimeout(resolve, 3))
      await cache.get('a')
      await new Promise(resolve => setTimeout(resolve, 3))
    }
    expect(cache.size).toBeLessThanOrEqual(1600)
    expect([await cache.get('a'), await cache.get('b'), await cache.get('d')].map(Boolean)).toEqual([true, false, true])
  })
})

test('a boot’s list is fetched when nothing else is, and the guest goes first', async () => {
  const { disk } = await open({ prefetch: [9, 8, 7, 0], flights: 3 })
  expect(await read(disk, 0, 512)).toBe(true)
  await new Promise(resolve => setTimeout(resolve, 100))
  for (const chunk of [7, 8, 9]) expect(disk.readNow(chunk * CHUNK, new Uint8Array(512))).toBe(true)
  expect(disk.touched).toEqual([0, 7, 8, 9])
})

test('a boot’s list waits for the guest before its chunks push one another out', async () => {
  const list = [10, 9, 8, 7, 5, 1, 0]
  const { disk, source } = await open({ prefetch: list, flights: 3, kept: 6 })
  const settled = () => new Promise(resolve => setTimeout(resolve, 100))
  await settled()
  expect(source.counts.fetched).toBe(4)
  for (const chunk of list) {
    expect(await read(disk, chunk * CHUNK, 512)).toBe(true)
    await settled()
  }
  expect(source.counts.fetched).toBe(list.length)
})

test('an overlay over it writes without reading, and reads what was written', async () => {
  const disk = new Overlay(new MemoryStore(), (await open()).disk)
  const before = server.requests
  expect(disk.write(0, new Uint8Array(4096).fill(7))).toBeUndefined()
  expect(disk.readNow(0, new Uint8Array(4096))).toBe(true)
  expect(server.requests).toBe(before)
  await disk.write(CHUNK + 512, new Uint8Array(512).fill(9))
  const bytes = new Uint8Array(1024)
  await disk.read(CHUNK, bytes)
  expect([bytes[0], bytes[511], bytes[512]]).toEqual([IMAGE[CHUNK], IMAGE[CHUNK + 511], 9])
})

test('pack stores equal chunks once and zeroes never; verify finds what is missing or damaged', async () => {
  const out = join(folder, 'again')
  const stats = await pack(join(folder, 'disk.img'), out, { chunk: 64, level: 1 })
  expect(stats).toMatch(/zeroes +3 chunks/)
  expect(stats).toMatch(/duplicates +1 chunks/)
  const { chunks } = JSON.parse(readFileSync(join(out, 'manifest.json'), 'utf8'))
  expect((await verify(out)).faults).toEqual([])
  rmSync(join(out, chunkPath(chunks[0])))
  writeFileSync(join(out, chunkPath(chunks[1])), 'nonsense')
  expect((await verify(out)).faults.map(fault => fault.replace(/chunk (\d+).* (is .*)/, '$1 $2'))).toEqual([
    '0 is missing',
    '1 is not what its name says',
  ])
})
