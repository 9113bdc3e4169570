import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isBzImage, readBzImage } from './bzimage.ts'
import { readElf } from './elf.ts'
import { type LinuxBoot, planLinux, readKernel, selfUnpacking } from './linux.ts'
import type { BootPlan } from './plan.ts'
import { BootParams, E820Entry, ElfHeader, ProgramHeader, SetupHeader } from './tables.ts'

const MIB = 1 << 20
const ascii = (text: string) => Uint8Array.from(text, c => c.charCodeAt(0))
const join = (...parts: Uint8Array[]) => new Uint8Array(Buffer.concat(parts))

interface Load {
  vaddr: number
  paddr: number
  bytes: Uint8Array
  memsz: number
}
/** A vmlinux of these segments. */
function elf(loads: Load[], header: Partial<Record<'class' | 'data' | 'type' | 'machine' | 'entry', number>> = {}) {
  let offset = 52 + loads.length * ProgramHeader.size
  const headers = loads.map(({ bytes, ...rest }) => {
    const entry = ProgramHeader.bytes({ type: 1, offset, filesz: bytes.length, ...rest })
    offset += bytes.length
    return entry
  })
  const start = ElfHeader.bytes({
    magic: 0x464c457f,
    class: 1,
    data: 1,
    type: 2,
    machine: 3,
    entry: loads[0]?.paddr ?? 0,
    phoff: 52,
    phentsize: ProgramHeader.size,
    phnum: loads.length,
    ...header,
  })
  return join(start, new Uint8Array(52 - start.length), ...headers, ...loads.map(({ bytes }) => bytes))
}

type HeaderValues = Parameters<typeof SetupHeader.bytes>[0]
/** A bzImage with this protected-mode code. */
function bzImage(code: Uint8Array, values: HeaderValues = {}, version = '') {
  const setup = new Uint8Array(2 * 512)
  setup.set(
    SetupHeader.bytes({
      setup_sects: 1,
      syssize: Math.ceil(code.length / 16),
      boot_flag: 0xaa55,
      jump: (SetupHeader.size - 0x11) * 256 + 0xeb,
      header: 0x53726448,
      version: 0x20f,
      kernel_version: version ? 0x100 : 0,
      loadflags: 1,
      code32_start: MIB,
      initrd_addr_max: 0x7fffffff,
      relocatable_kernel: 1,
      cmdline_size: 2047,
      pref_address: 16 * MIB,
      init_size: 8 * MIB,
      ...values,
    }),
    0x1f1,
  )
  setup.set(ascii(`${version}\0`), 0x300)
  return join(setup, code)
}

const vmlinux = elf([
  { vaddr: 0xc1000000, paddr: 16 * MIB, bytes: ascii('text'), memsz: 4 },
  { vaddr: 0xc1001000, paddr: 16 * MIB + 4096, bytes: ascii('data'), memsz: 3 * MIB },
])
const plan = (rest: Partial<LinuxBoot> = {}) =>
  planLinux({ image: readElf(vmlinux), cmdline: 'console=hvc0', memory: 64 * MIB, ...rest })
const segment = ({ segments }: BootPlan, name: string) => segments.find(segment => segment.name === name)!
const params = (plan: BootPlan) => {
  const { bytes } = segment(plan, 'boot_params')
  const view = new DataView(bytes.buffer)
  return { params: new BootParams(view), hdr: new SetupHeader(view, 0x1f1) }
}

describe('the tables', () => {
  it('put every field where the boot protocol has it', () => {
    const at = Object.entries(SetupHeader.offset).map(([name, offset]) => [name, (0x1f1 + offset).toString(16)])
    expect(Object.fromEntries(at)).toMatchObject({
      setup_sects: '1f1',
      boot_flag: '1fe',
      header: '202',
      version: '206',
      type_of_loader: '210',
      code32_start: '214',
      ramdisk_image: '218',
      cmd_line_ptr: '228',
      initrd_addr_max: '22c',
      relocatable_kernel: '234',
      xloadflags: '236',
      cmdline_size: '238',
      payload_offset: '248',
      setup_data: '250',
      pref_address: '258',
      init_size: '260',
    })
    expect(BootParams.offset).toMatchObject({ e820_entries: 0x1e8, hdr: 0x1f1, e820_table: 0x2d0 })
    expect(BootParams.size).toBe(4096)
    expect(E820Entry.size).toBe(20)
  })
})

describe('a vmlinux', () => {
  it('goes to its physical addresses, and starts there', () => {
    const { segments, entry } = readElf(vmlinux)
    expect(segments.map(({ address, length }) => [address, length])).toEqual([
      [16 * MIB, 4],
      [16 * MIB + 4096, 3 * MIB],
    ])
    expect(segments[1]!.bytes).toEqual(ascii('data'))
    expect(entry).toBe(16 * MIB)
  })
  it('may give its entry as a virtual address', () => {
    const loads = [{ vaddr: 0xc1000000, paddr: 16 * MIB, bytes: ascii('text'), memsz: 4 }]
    expect(readElf(elf(loads, { entry: 0xc1000002 })).entry).toBe(16 * MIB + 2)
  })
  const load = [{ vaddr: MIB, paddr: MIB, bytes: ascii('text'), memsz: 4 }]
  it.each([
    ['x86-64', elf(load, { class: 2, machine: 62 }), 'for 64-bit x86 (x86-64), but this machine is a 32-bit PC'],
    ['x32', elf(load, { machine: 62 }), '64-bit x86'],
    ['arm64', elf(load, { class: 2, machine: 183 }), 'for 64-bit ARM'],
    ['another machine', elf(load, { machine: 2 }), 'ELF machine 2'],
    ['an object file', elf(load, { type: 1 }), 'not a kernel'],
    ['an entry outside', elf(load, { entry: 2 }), 'does not start inside what it loads'],
    ['nothing to load', elf([]), 'not a kernel'],
    ['a segment cut short', elf(load).subarray(0, -1), 'cut short'],
    ['headers cut short', elf(load).subarray(0, 60), 'cut short'],
    ['only a magic number', elf(load).subarray(0, 10), 'cut short'],
  ])('is refused: %s', (_, file, message) => {
    expect(() => readElf(file)).toThrow(message)
  })
})

describe('a bzImage', () => {
  const code = join(new Uint8Array(32), ascii('PAYLOAD!'), new Uint8Array(8))
  it('shows its payload and version', () => {
    const file = bzImage(code, { payload_offset: 32, payload_length: 8 }, '6.1.0-test (somebody)')
    expect(isBzImage(file)).toBe(true)
    const image = readBzImage(file)
    expect(image.payload).toEqual(ascii('PAYLOAD!'))
    expect(image.version).toBe('6.1.0-test (somebody)')
  })
  it.each<[string, HeaderValues]>([
    ['an old protocol', { version: 0x207, payload_offset: 32, payload_length: 8 }],
    ['no payload', {}],
    ['a payload beyond its end', { payload_offset: 32, payload_length: 800 }],
  ])('has no payload to unpack here with %s', (_, values) => {
    expect(readBzImage(bzImage(code, values)).payload).toBeUndefined()
  })
  it('reads fields that its header is too short for as zero', () => {
    const { header } = readBzImage(bzImage(code, { version: 0x204, jump: (0x230 - 0x202) * 256 + 0xeb }))
    expect(header).toMatchObject({ initrd_addr_max: 0x7fffffff, cmdline_size: 0, payload_offset: 0, init_size: 0 })
  })
  it.each<[string, Uint8Array, string]>([
    ['for 64-bit', bzImage(code, { xloadflags: 1 }), 'for 64-bit x86 (x86-64), but this machine is a 32-bit PC'],
    ['loaded low', bzImage(code, { loadflags: 0 }), 'zImage'],
    ['cut short', bzImage(code).subarray(0, -16), 'cut short: 1056 of 1072 bytes'],
  ])('is refused: %s', (_, file, message) => {
    expect(() => readBzImage(file)).toThrow(message)
  })
  it('can unpack itself, where it prefers to be', () => {
    const image = selfUnpacking(readBzImage(bzImage(code)))
    expect(image).toMatchObject({ entry: 16 * MIB, segments: [{ address: 16 * MIB, length: 8 * MIB }] })
    expect(image.segments[0]!.bytes).toEqual(code)
    const fixed = selfUnpacking(readBzImage(bzImage(code, { relocatable_kernel: 0 })))
    expect(fixed.entry).toBe(MIB)
  })
})

describe('what is no kernel', () => {
  const at = (offset: number, text: string, length = offset + text.length) => {
    const file = new Uint8Array(Math.max(length, 0x210))
    file.set(ascii(text), offset)
    return file
  }
  it.each([
    ['nothing', new Uint8Array(), 'an empty file'],
    ['an ISO image', at(0x8001, 'CD001'), 'an ISO image'],
    ['a web page', ascii('\n<!DOCTYPE html><html>'), 'an HTML page'],
    ['gzip', at(0, '\x1f\x8b'), 'gzip-compressed data'],
    ['a PE program', at(0, 'MZ'), 'an EFI or Windows program'],
    ['an initrd', at(0, '070701'), 'a cpio archive, which is an initrd'],
    ['a disk image', at(0x1fe, '\x55\xaa'), 'a boot sector or disk image'],
    ['an arm64 kernel', at(56, 'ARM\x64'), 'an arm64 Linux kernel'],
    ['a Git LFS pointer', ascii('version https://git-lfs.github.com/spec/v1'), 'a Git LFS pointer'],
    ['text', ascii('Not found\nat all'), 'text, starting with "Not found"'],
    ['anything else', at(0, '\x01\x02\xff'), 'data that starts with 01 02 ff 00 00 00 00 00'],
  ])('%s is called what it looks like', (_, file, words) => {
    expect(() => readKernel(file)).toThrow(`The kernel is not a bzImage or vmlinux but ${words}`)
  })
})

describe('the plan', () => {
  it('starts the CPU in flat 32-bit protected mode, with its GDT in RAM', () => {
    const { cpu } = plan()
    expect(cpu).toMatchObject({ eip: 16 * MIB, cr0: 0x11, eflags: 2, cs: { selector: 0x10, access: 0x9b } })
    expect(cpu.data).toEqual({ selector: 0x18, base: 0, limit: 0xffffffff, access: 0x93 })
    const { address, bytes } = segment(plan(), 'GDT')
    expect(cpu.gdtr).toEqual({ base: address, limit: 31 })
    expect([...bytes.subarray(16)]).toEqual([255, 255, 0, 0, 0, 0x9b, 0xcf, 0, 255, 255, 0, 0, 0, 0x93, 0xcf, 0])
  })
  it('passes the setup header on, filled in', () => {
    const { headerBytes } = readBzImage(bzImage(ascii('code'), { kernel_alignment: 77 }))
    const result = plan({ headerBytes })
    expect(result.cpu.esi).toBe(segment(result, 'boot_params').address)
    expect(params(result).hdr).toMatchObject({ kernel_alignment: 77, type_of_loader: 0xff, ramdisk_size: 0 })
    expect(new SetupHeader(new DataView(headerBytes.buffer)).type_of_loader).toBe(0)
  })
  it('has a memory map with RAM below 640 KiB and above 1 MiB', () => {
    const { params: zeroPage } = params(plan())
    const view = new DataView(zeroPage.e820_table.buffer, zeroPage.e820_table.byteOffset)
    const entries = Array.from({ length: zeroPage.e820_entries }, (_, i) => new E820Entry(view, i * E820Entry.size))
    expect(entries.map(({ addr, size, type }) => [addr, size, type])).toEqual([
      [0, 0x9f000, 1],
      [0x9f000, 0x61000, 2],
      [MIB, 63 * MIB, 1],
    ])
  })
  it('has the command line, in UTF-8 and terminated', () => {
    const result = plan({ cmdline: 'a=é' })
    expect([...segment(result, 'command line').bytes]).toEqual([97, 61, 0xc3, 0xa9, 0])
    expect(params(result).hdr.cmd_line_ptr).toBe(segment(result, 'command line').address)
  })
  it('puts the initrd as high as the kernel takes it', () => {
    const initrd = new Uint8Array(5000)
    expect(segment(plan({ initrd }), 'initrd')).toMatchObject({ address: 64 * MIB - 8192, length: 5000 })
    expect(params(plan({ initrd })).hdr).toMatchObject({ ramdisk_image: 64 * MIB - 8192, ramdisk_size: 5000 })
    const { headerBytes } = readBzImage(bzImage(ascii('code'), { initrd_addr_max: 32 * MIB - 1 }))
    expect(segment(plan({ initrd, headerBytes }), 'initrd').address).toBe(32 * MIB - 8192)
    expect(segment(plan({ initrd, memory: 1024 * MIB }), 'initrd').address).toBeLessThan(896 * MIB)
  })
  it('hands over a random seed', () => {
    const result = plan({ seed: Uint8Array.of(1, 2, 3) })
    const { address, bytes } = segment(result, 'random seed')
    expect(params(result).hdr.setup_data).toBe(address)
    expect([...bytes]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 3, 0, 0, 0, 1, 2, 3])
  })
  it('overlaps nothing', () => {
    const { segments } = plan({ initrd: new Uint8Array(MIB), seed: new Uint8Array(32), cmdline: 'x'.repeat(2047) })
    const sorted = segments.toSorted((a, b) => a.address - b.address)
    for (const [i, { address }] of sorted.entries()) {
      const before = sorted[i - 1]
      if (before) expect(address).toBeGreaterThanOrEqual(before.address + before.length)
    }
  })

  const low = elf([{ vaddr: 0x1000, paddr: 0x1000, bytes: ascii('text'), memsz: 4 }])
  const { headerBytes } = readBzImage(bzImage(ascii('code'), { initrd_addr_max: 20 * MIB - 1 }))
  it.each<[string, Partial<LinuxBoot>, string]>([
    ['too little memory', { memory: 16 * MIB }, 'ends at 20 MiB, so the machine needs at least 24 MiB and has 16 MiB'],
    [
      'too little memory for the initrd',
      { memory: 32 * MIB, initrd: new Uint8Array(16 * MIB) },
      'the kernel ends at 20 MiB and its initrd takes 16 MiB, so the machine needs at least 40 MiB and has 32 MiB',
    ],
    [
      'an initrd too big for the kernel',
      { headerBytes, initrd: new Uint8Array(MIB) },
      'The initrd is too big: 1 MiB do',
    ],
    ['too long a command line', { cmdline: 'x'.repeat(2048) }, '2048 bytes, and this kernel takes 2047'],
    ['a kernel in the first MiB', { image: readElf(low) }, 'wants to be at 0x1000, in the first MiB'],
  ])('is refused: %s', (_, boot, message) => {
    expect(() => plan(boot)).toThrow(message)
    expect(() => plan(boot)).toThrow(expect.objectContaining({ name: 'BootError' }))
  })
})

describe('damaged kernels', () => {
  const code = join(new Uint8Array(32), ascii('PAYLOAD!'), new Uint8Array(8))
  it.each([
    ['a vmlinux', vmlinux],
    ['a bzImage', bzImage(code, { payload_offset: 32, payload_length: 8 }, '6.1.0')],
  ])('are planned inside RAM or refused with a BootError: %s', (_, file) => {
    // The headers: elsewhere damage only reaches the guest.
    const header = isBzImage(file) ? [0x1f1, 0x26c] : [0, 116]
    const damage = fc.array(fc.tuple(fc.integer({ min: header[0]!, max: header[1]! }), fc.nat(255)), { maxLength: 6 })
    fc.assert(
      fc.property(damage, fc.nat(file.length), (changes, cut) => {
        const damaged = file.slice(0, file.length - (cut % 3 ? 0 : cut))
        for (const [at, value] of changes) if (at < damaged.length) damaged[at] = value
        try {
          const kernel = readKernel(damaged)
          const image = 'image' in kernel ? kernel.image : selfUnpacking(kernel.bzImage)
          const { segments } = plan({ image, ...('bzImage' in kernel && { headerBytes: kernel.bzImage.headerBytes }) })
          for (const { address, bytes, length } of segments) {
            expect(bytes.length).toBeLessThanOrEqual(length)
            expect(address + length).toBeLessThanOrEqual(64 * MIB)
          }
        } catch (error) {
          expect(error).toMatchObject({ name: 'BootError' })
        }
      }),
      { numRuns: 2000 },
    )
  })
})
