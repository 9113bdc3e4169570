import { execFileSync, spawnSync } from 'node:child_process'
import { randomFillSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync, gzipSync } from 'node:zlib'
import { Zstd } from '@hpcc-js/wasm-zstd'
import { describe, expect, test } from 'vitest'
import { MemoryDisk } from '../../src/devices/block-backend.ts'
import { BackendError } from '../../src/virtio/machine.ts'
import { BLOCK, MemoryStore } from './block-store.ts'
import type { ImageFile } from './image-file.ts'
import { exportImage, importImage } from './image-stream.ts'
import { Overlay } from './overlay.ts'

/** What is in the fixtures, which QEMU's `qemu-img convert -O qcow2 -o cluster_size=4096` made of it: a sector over 1 MiB, mostly zeroes. */
const IMAGE = new Uint8Array(2 ** 20 + 512)
for (const [from, length] of [
  [0, 6000],
  [409700, 5000],
  [IMAGE.length - 512, 512],
] as const)
  for (let i = from; i < from + length; i++) IMAGE[i] = i * 7 + ((i >> 8) & 0xff)

const fixture = (name: string) =>
  gunzipSync(readFileSync(new URL(`../../test/disk/qcow2/${name}.qcow2.gz`, import.meta.url)))
/** Its first frame of zstd, and what is behind it, is noise. */
const damaged = (bytes: Buffer) => bytes.fill(0xa5, bytes.indexOf(Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd)) + 8)
const fileOf = (name: string, bytes: Uint8Array): ImageFile => ({
  name,
  size: bytes.length,
  read: (from, to) => new Uint8Array(bytes.slice(from, to)),
})
const qemuImg = spawnSync('qemu-img', ['--version']).status === 0
const zstd = async (bytes: Uint8Array) => (await Zstd.load()).compress(bytes)

async function imported(file: ImageFile) {
  const store = new MemoryStore()
  const size = await importImage(file, store)
  return { store, disk: new Overlay(store, undefined, { capacity: size }) }
}
const contents = (disk: Overlay) => {
  const bytes = new Uint8Array(disk.capacity)
  disk.read(0, bytes)
  return bytes
}
const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0

describe('an image becomes a disk', () => {
  test.each<[string, () => Uint8Array | Promise<Uint8Array>]>([
    ['raw', () => IMAGE],
    ['raw.gz', () => gzipSync(IMAGE)],
    [
      'raw.gz of several members',
      () => Buffer.concat([gzipSync(IMAGE.subarray(0, 5000)), gzipSync(IMAGE.subarray(5000))]),
    ],
    ['raw.zst', () => zstd(IMAGE)],
    [
      'raw.zst of several frames',
      async () => Buffer.concat([await zstd(IMAGE.subarray(0, 5000)), await zstd(IMAGE.subarray(5000))]),
    ],
    ['qcow2', () => fixture('plain')],
    ['qcow2, compressed', () => fixture('compressed')],
    ['qcow2, compressed by zstd', () => fixture('zstd')],
  ])('%s', async (_, make) => {
    const { store, disk } = await imported(fileOf('image', await make()))
    expect(disk.capacity).toBe(IMAGE.length)
    expect(same(contents(disk), IMAGE)).toBe(true)
    // Blocks of zeroes take no room: there are 2 at the start, 2 in the middle, and the one of the last sector.
    expect(store.occupied).toBe(5 * BLOCK)
  })

  test.runIf(qemuImg).each(['zlib', 'zstd'])(
    'qcow2 as qemu-img compresses it by %s, clusters of every size',
    async type => {
      const folder = mkdtempSync(join(tmpdir(), 'ringlet-qcow2-'))
      try {
        // What compresses well, a little and not at all, so that frames end anywhere in a sector.
        const image = new Uint8Array(3 * 2 ** 20)
        for (let i = 0; i < 2 ** 20; i++) image[i] = (i * i) >> 9
        randomFillSync(image, 2 ** 20, 2 ** 19)
        for (let i = 2 ** 21; i < image.length; i++) image[i] = Math.random() * 5
        const [raw, packed] = [join(folder, 'raw'), join(folder, 'qcow2')]
        writeFileSync(raw, image)
        for (const size of [4096, 65536, 2 ** 21]) {
          const options = `compression_type=${type},cluster_size=${size}`
          execFileSync('qemu-img', ['convert', '-c', '-O', 'qcow2', '-o', options, raw, packed])
          const { disk } = await imported(fileOf('image', readFileSync(packed)))
          expect(same(contents(disk), image), `clusters of ${size}`).toBe(true)
        }
      } finally {
        rmSync(folder, { recursive: true })
      }
    },
  )

  test('bytes after the last whole sector are kept, and a sector is made of them', async () => {
    const { disk } = await imported(fileOf('odd.img', IMAGE.subarray(0, 700)))
    expect(disk.capacity).toBe(1024)
    expect(same(contents(disk).subarray(0, 700), IMAGE.subarray(0, 700))).toBe(true)
  })

  test.each<[string, () => Uint8Array | Promise<Uint8Array>, RegExp]>([
    ['an empty file', () => new Uint8Array(0), /empty/],
    ['a gzip file cut short', () => gzipSync(IMAGE).subarray(0, 1000), /damaged or cut short/],
    ['a zstd file cut short', async () => (await zstd(IMAGE)).subarray(0, 300), /damaged or cut short/],
    ['a qcow2 file cut short', () => fixture('plain').subarray(0, 14000), /cut short/],
    ['a qcow2 that is a difference', () => fixture('backed'), /difference to another image: .*qemu-img convert/],
    ['a qcow2 compressed by zstd and damaged', () => damaged(fixture('zstd')), /damaged|cut short/],
    ['a qcow2 compressed otherwise', () => fixture('zstd').fill(7, 104, 105), /in a way .*qemu-img convert/],
    ['a qcow2 of an unknown version', () => fixture('plain').fill(9, 7, 8), /version 9/],
  ])('%s is refused, with what to do', async (_, make, message) => {
    const failure = await imported(fileOf('image', await make())).catch(error => error)
    expect(failure).toBeInstanceOf(BackendError)
    expect(failure.message).toMatch(message)
  })
})

describe('a disk becomes an image', () => {
  const pieces = async (compress: boolean) => {
    const all: Uint8Array[] = []
    const seen: number[] = []
    const disk = new MemoryDisk(IMAGE.slice())
    for await (const piece of exportImage(disk, { compress, progress: done => seen.push(done) })) all.push(piece)
    return { bytes: Buffer.concat(all), seen }
  }

  test('raw, and every step is told', async () => {
    const { bytes, seen } = await pieces(false)
    expect(same(bytes, IMAGE)).toBe(true)
    expect(seen).toEqual([2 ** 20, IMAGE.length])
  })

  test('raw.zst, which is taken back', async () => {
    const { bytes } = await pieces(true)
    expect(bytes.length).toBeLessThan(IMAGE.length / 20)
    const { disk } = await imported(fileOf('saved.img.zst', bytes))
    expect(same(contents(disk), IMAGE)).toBe(true)
  })

  test.each(['raw', 'zst'])(
    '2 GiB as %s through a heap of 256 MiB',
    format => {
      const script = fileURLToPath(new URL('../../test/disk/large-export.ts', import.meta.url))
      const said = execFileSync(process.execPath, ['--max-old-space-size=256', '--import', 'tsx', script, format], {
        encoding: 'utf8',
      })
      const { bytes, peak } = JSON.parse(said)
      if (format === 'raw') expect(bytes).toBe(2 ** 31)
      else expect(bytes).toBeGreaterThan(2 ** 20)
      // All of the process, in bytes: what is outside of the heap is as little.
      expect(peak).toBeLessThan(512 * 2 ** 20)
    },
    120_000,
  )
})
