import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { describe, expect, it, vi } from 'vitest'
import { ElfHeader, ProgramHeader, SetupHeader } from '../src/boot/tables.ts'
import { unpackInitrd } from './initrd.ts'
import { prepareLinux } from './linux.ts'

const MIB = 1 << 20
const ascii = (text: string) => Uint8Array.from(text, c => c.charCodeAt(0))
const join = (...parts: Uint8Array[]) => new Uint8Array(Buffer.concat(parts))
const gzip = (bytes: Uint8Array) => new Uint8Array(gzipSync(bytes))
const blob = (bytes: Uint8Array) => new Blob([bytes as Uint8Array<ArrayBuffer>])

/** A vmlinux with one segment at 16 MiB. */
const vmlinux = (() => {
  const text = ascii('kernel text')
  const at = { entry: 16 * MIB, phoff: 52, phentsize: ProgramHeader.size, phnum: 1 }
  const header = ElfHeader.bytes({ magic: 0x464c457f, class: 1, data: 1, type: 2, machine: 3, ...at })
  const load = { type: 1, offset: 84, vaddr: 0xc1000000, paddr: 16 * MIB, filesz: text.length, memsz: MIB }
  return join(header, new Uint8Array(52 - header.length), ProgramHeader.bytes(load), text)
})()

function bzImage(payload: Uint8Array) {
  const setup = new Uint8Array(1024)
  setup.set(
    SetupHeader.bytes({
      setup_sects: 1,
      syssize: Math.ceil((16 + payload.length) / 16),
      jump: (SetupHeader.size - 0x11) * 256,
      header: 0x53726448,
      version: 0x20f,
      kernel_version: 0x100,
      loadflags: 1,
      relocatable_kernel: 1,
      cmdline_size: 2047,
      initrd_addr_max: 0x7fffffff,
      payload_offset: 16,
      payload_length: payload.length,
      pref_address: 16 * MIB,
      init_size: 2 * MIB,
    }),
    0x1f1,
  )
  setup.set(ascii('6.1.0-test\0'), 0x300)
  return join(setup, new Uint8Array(16), payload)
}

/** One file of a cpio archive in the newc format, as it stands in the archive. */
function entry(name: string, contents = new Uint8Array()) {
  const hex = (value: number) => value.toString(16).padStart(8, '0')
  const fields = [1, 0o100644, 0, 0, 1, 0, contents.length, 0, 0, 0, 0, name.length + 1, 0]
  const pad = (bytes: Uint8Array) => join(bytes, new Uint8Array(-bytes.length & 3))
  return join(pad(ascii(`070701${fields.map(hex).join('')}${name}\0`)), pad(contents))
}
const cpio = (name: string) => join(entry(name, ascii('contents of it')), entry('TRAILER!!!'))

describe('preparing Linux', () => {
  const prepare = (kernel: Uint8Array, initrd?: Uint8Array, memory = 64 * MIB) =>
    prepareLinux({ kernel: blob(kernel), initrd: initrd && blob(initrd), memory })
  const kernelOf = async (file: Uint8Array) => {
    const prepared = await prepare(file)
    const { segments, cpu } = prepared.plan('quiet')
    return { version: prepared.version, eip: cpu.eip, ...segments.find(({ name }) => name === 'kernel')! }
  }

  it.each<[string, Uint8Array, string]>([
    ['a bzImage', bzImage(gzip(vmlinux)), '6.1.0-test'],
    ['a compressed bzImage', gzip(bzImage(gzip(vmlinux))), '6.1.0-test'],
    ['a vmlinux', vmlinux, ''],
    ['a compressed vmlinux', gzip(vmlinux), ''],
  ])('unpacks %s', async (_, file, version) => {
    const kernel = await kernelOf(file)
    expect(kernel).toMatchObject({ version, eip: 16 * MIB, address: 16 * MIB, length: MIB })
    expect(kernel.bytes).toEqual(ascii('kernel text'))
  })
  it.each([
    ['in a way that is left to it', ascii('BZh9 bzip2 and its size')],
    ['to something else than an ELF file', gzip(ascii('a flat binary'))],
  ])('lets a kernel packed %s unpack itself', async (_, payload) => {
    const kernel = await kernelOf(bzImage(payload))
    expect(kernel).toMatchObject({ eip: 16 * MIB, length: 2 * MIB })
    expect(kernel.bytes.subarray(16, 16 + payload.length)).toEqual(payload)
  })
  it.each<[string, Uint8Array, string]>([
    ['a damaged payload', bzImage(gzip(vmlinux).fill(0x55, 30, 40)), 'The kernel is damaged: the gzip data'],
    ['a damaged file', gzip(vmlinux).subarray(0, 40), 'The file given as the kernel cannot be unpacked'],
    ['compressed text', gzip(ascii('hello')), 'but text, starting with "hello"'],
  ])('refuses %s', async (_, file, message) => {
    await expect(prepare(file)).rejects.toThrow(message)
  })

  it('unpacks the initrd if it fits in memory twice, and else leaves that to the guest', async () => {
    const archive = join(entry('big', new Uint8Array(10 * MIB)), entry('TRAILER!!!'))
    const packed = gzip(archive)
    const length = (memory: number) =>
      prepare(vmlinux, packed, memory).then(
        prepared => prepared.plan('').segments.find(({ name }) => name === 'initrd')?.length,
      )
    expect(await length(64 * MIB)).toBe(archive.length)
    expect(await length(32 * MIB)).toBe(packed.length)
  })
  it('gives every start its own random seed', async () => {
    const prepared = await prepare(vmlinux)
    const seed = () =>
      prepared
        .plan('')
        .segments.find(({ name }) => name === 'random seed')!
        .bytes.join()
    expect(seed()).not.toBe(seed())
  })
  it('reports progress and what took how long', async () => {
    const progress = vi.fn()
    const kernel = blob(bzImage(gzip(vmlinux)))
    const { phases } = await prepareLinux({ kernel, initrd: blob(cpio('a')), memory: 64 * MIB, progress })
    expect(Object.keys(phases).sort()).toEqual(['initrd download', 'initrd unpack', 'kernel download', 'kernel unpack'])
    const { size } = kernel
    for (const phase of ['download', 'done'])
      expect(progress).toHaveBeenCalledWith({ what: 'kernel', phase, done: size, total: size })
  })
  it('stops when it is aborted', async () => {
    const signal = AbortSignal.abort(new Error('enough'))
    await expect(prepareLinux({ kernel: blob(vmlinux), memory: MIB, signal })).rejects.toThrow('enough')
  })
})

describe('an initrd', () => {
  const xz = new Uint8Array(readFileSync(new URL('./decompress/fixtures/two-streams.xz', import.meta.url)))
  const early = cpio('kernel/x86/microcode/GenuineIntel.bin')
  const padding = new Uint8Array(512)
  it.each<[string, Uint8Array, Uint8Array]>([
    ['is unpacked', gzip(cpio('init')), cpio('init')],
    ['is unpacked behind an uncompressed one', join(early, gzip(cpio('init'))), join(early, cpio('init'))],
    ['is unpacked behind padding', join(early, padding, gzip(cpio('init'))), join(early, padding, cpio('init'))],
    ['stays if it is not compressed', cpio('init'), cpio('init')],
    ['stays if it holds no archive', gzip(ascii('a file system')), gzip(ascii('a file system'))],
    ['stays if it is damaged', gzip(cpio('init')).subarray(0, 60), gzip(cpio('init')).subarray(0, 60)],
    ['stays if its first archive is', early.subarray(0, 150), early.subarray(0, 150)],
    ['stays if it is of several streams', xz, xz],
    ['stays if it is something else', ascii('hsqs'), ascii('hsqs')],
    ['stays if it is empty', new Uint8Array(), new Uint8Array()],
  ])('%s', async (_, bytes, expected) => {
    expect(await unpackInitrd(bytes)).toEqual(expected)
  })
})
