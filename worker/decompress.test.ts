import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { undoX86 } from './decompress/xz.ts'
import { decompress, decompressPayload } from './decompress.ts'

const fixture = (name: string) =>
  new Uint8Array(readFileSync(new URL(`./decompress/fixtures/${name}`, import.meta.url)))
/** x86-like code with opcodes in doubtful places, and text. */
const plain = fixture('plain.bin')
const gzip = new Uint8Array(gzipSync(plain))
const withSize = (bytes: Uint8Array, size = plain.length) =>
  Uint8Array.from([...bytes, ...new Uint8Array(Uint32Array.of(size).buffer)])

describe('decompress', () => {
  it.each([
    ['gzip', gzip],
    ['zstd', fixture('size.zst')],
    ['zstd that does not say its size', fixture('no-size.zst')],
    ['xz with the x86 filter and CRC32, as kernels are', fixture('x86-crc32.xz')],
    ['xz with CRC64', fixture('crc64.xz')],
    ['xz with SHA-256', fixture('sha256.xz')],
    ['lzma with an end marker instead of a size', fixture('unknown-size.lzma')],
    ['lz4’s legacy frame', fixture('legacy.lz4')],
    ['two lz4 frames', Uint8Array.from([...fixture('legacy.lz4'), ...fixture('legacy.lz4')])],
  ])('unpacks %s', async (name, bytes) => {
    const expected = name.startsWith('two') ? Uint8Array.from([...plain, ...plain]) : plain
    expect(await decompress(bytes)).toEqual(expected)
  })

  it.each([
    ['plain data', plain],
    ['nothing', new Uint8Array()],
    ['bzip2', fixture('plain.bz2')],
    ['xz with a filter for another machine', fixture('arm.xz')],
    ['xz of several streams', fixture('two-streams.xz')],
  ])('leaves %s to others', async (_, bytes) => {
    expect(await decompress(bytes)).toBeNull()
  })

  it.each([
    ['gzip', gzip],
    ['zstd', fixture('size.zst')],
    ['zstd', fixture('no-size.zst')],
    ['xz', fixture('x86-crc32.xz')],
    ['lzma', fixture('unknown-size.lzma')],
    ['lz4', fixture('legacy.lz4')],
  ])('refuses %s cut short anywhere, or damaged, without hanging', async (_, bytes) => {
    for (let end = bytes.length - 1; end > 18; end = Math.floor(end * 0.8)) {
      await expect(decompress(bytes.subarray(0, end))).rejects.toThrow(/damaged|cut short|holds|packs to/)
    }
    for (let at = 8; at < bytes.length; at += 97) {
      const damaged = bytes.slice()
      damaged[at]! ^= 0x55
      // Where the format has no checksum, damage may pass; what matters then is that it ends.
      await decompress(damaged, plain.length).catch(reason => expect(reason.name).toBe('DecompressError'))
    }
  })

  it.each(['crc64.xz', 'sha256.xz', 'x86-crc32.xz'])('notices a wrong checksum in %s', async name => {
    const bytes = fixture(name)
    for (let at = 40; at < bytes.length; at += 61) {
      const damaged = bytes.slice()
      damaged[at]! ^= 1
      await expect(decompress(damaged)).rejects.toThrow('damaged')
    }
  })

  it('refuses what unpacks to another size than it should', async () => {
    await expect(decompress(gzip, 7)).rejects.toThrow('the gzip data unpacks to 5000 bytes instead of 7')
  })
})

describe('a kernel’s payload', () => {
  it.each([
    ['gzip, whose own last bytes are the size', gzip],
    ['xz', withSize(fixture('x86-crc32.xz'))],
    ['zstd', withSize(fixture('no-size.zst'))],
    ['lzma', withSize(fixture('unknown-size.lzma'))],
    ['lz4', withSize(fixture('legacy.lz4'))],
  ])('unpacks %s', async (_, payload) => {
    expect(await decompressPayload(payload)).toEqual(plain)
  })
  it('must have the size it says', async () => {
    await expect(decompressPayload(withSize(fixture('legacy.lz4'), 4999))).rejects.toThrow('5000 bytes instead of 4999')
  })
})

describe('the x86 filter', () => {
  it.each<[string, number[], number[]]>([
    ['makes a call relative', [0xe8, 0x25, 1, 0, 0, 0x90], [0xe8, 0x20, 1, 0, 0, 0x90]],
    ['makes a jump back relative', [0xe9, 0, 0, 0, 0, 0x90], [0xe9, 0xfb, 0xff, 0xff, 0xff, 0x90]],
    ['leaves what reaches further than 16 MiB', [0xe8, 1, 2, 3, 4, 0x90], [0xe8, 1, 2, 3, 4, 0x90]],
    ['leaves the last four bytes', [0x90, 0xe8, 1, 0, 0], [0x90, 0xe8, 1, 0, 0]],
  ])('%s', (_, packed, expected) => {
    const code = Uint8Array.from(packed)
    undoX86(code)
    expect([...code]).toEqual(expected)
  })
  it('counts from its start offset', () => {
    const code = Uint8Array.of(0xe8, 0x25, 1, 0, 0, 0x90)
    undoX86(code, 0x10)
    expect(code[1]).toBe(0x10)
  })
})
