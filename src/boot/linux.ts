/** Linux's 32-bit boot protocol (boot.rst): the kernel in place, `boot_params` filled in, flat segments, and off. */

import { type BzImage, isBzImage, readBzImage } from './bzimage.ts'
import { isElf, type KernelImage, readElf } from './elf.ts'
import { BootError, type BootPlan, type Segment } from './plan.ts'
import { describeFile } from './recognise.ts'
import { BootParams, E820Entry, SegmentDescriptor, SetupData, SetupHeader } from './tables.ts'

const MIB = 1 << 20
/** In conventional memory, which the kernel leaves alone until it has copied what is there. */
const GDT = 0x8f000
const PARAMS = 0x90000
const CMDLINE = 0x91000
const CMDLINE_ROOM = 0x2000
const SETUP_DATA = 0x93000
const CONVENTIONAL_END = 0x9f000
/** Above it 32-bit kernels have no direct mapping, and would copy the initrd down first. */
const LOW_MEMORY_END = 0x37000000
/** What no Linux can start without beside its own image: page tables, the memory map, the first processes. */
const LEAST_FREE = 4 * MIB

const { RAM, RESERVED } = E820Entry.fields.type.bits
const { ACCESSED, WRITABLE, CODE, NOT_SYSTEM, PRESENT } = SegmentDescriptor.fields.access.bits
const { SIZE_32, PAGES } = SegmentDescriptor.fields.limit_16.bits

/** What a plain `vmlinux` lacks, as a kernel of today would say it. */
const plainHeader = SetupHeader.bytes({
  boot_flag: 0xaa55,
  header: 0x53726448,
  version: 0x20f,
  loadflags: SetupHeader.fields.loadflags.bits.LOADED_HIGH,
  initrd_addr_max: 0x7fffffff,
  cmdline_size: 2047,
})

export type Kernel = { readonly bzImage: BzImage } | { readonly image: KernelImage }

/** Tells what a file is and reads it. Fails with `BootError` if it is nothing this machine can start. */
export function readKernel(file: Uint8Array): Kernel {
  if (isBzImage(file)) return { bzImage: readBzImage(file) }
  if (isElf(file)) return { image: readElf(file) }
  throw new BootError(`The kernel is not a bzImage or vmlinux but ${describeFile(file)}.`)
}

/** A bzImage whose own first instructions unpack it: slower, but whatever it is compressed with. */
export function selfUnpacking({ header, protectedMode }: BzImage): KernelImage {
  const address =
    header.relocatable_kernel && header.version >= 0x20a ? header.pref_address : header.code32_start || MIB
  const length = Math.max(protectedMode.length, header.version >= 0x20a ? header.init_size : 0)
  return { segments: [{ name: 'kernel', address, bytes: protectedMode, length }], entry: address }
}

export interface LinuxBoot {
  readonly image: KernelImage
  /** `boot_params.hdr` as the bzImage has it; absent for a plain vmlinux. */
  readonly headerBytes?: Uint8Array | undefined
  readonly initrd?: Uint8Array | undefined
  readonly cmdline: string
  /** RAM in bytes. */
  readonly memory: number
  /** Random bytes to start the kernel's own generator with (Linux 6.0 and later). */
  readonly seed?: Uint8Array | undefined
}

/** Fails with `BootError` when it does not fit. */
export function planLinux({ image, headerBytes = plainHeader, initrd, cmdline, memory, seed }: LinuxBoot): BootPlan {
  const hdr = headerBytes.slice()
  const header = new SetupHeader(new DataView(hdr.buffer))
  const segments: Segment[] = [...image.segments]
  const place = (name: string, address: number, bytes: Uint8Array, length = bytes.length) =>
    segments.push({ name, address, bytes, length })

  const kernelEnd = checkRoom(image, initrd, memory)
  header.type_of_loader = 0xff
  if (initrd?.length) {
    const limit = Math.min(
      memory,
      LOW_MEMORY_END,
      ((header.version >= 0x203 && header.initrd_addr_max) || 0x37ffffff) + 1,
    )
    const address = (limit - initrd.length) & ~0xfff
    if (address < kernelEnd)
      throw new BootError(
        `The initrd is too big: ${mib(initrd.length)} do not fit between the end of the kernel at ${mib(kernelEnd)} and ` +
          `${mib(limit)}, the highest address this kernel takes one at.`,
      )
    place('initrd', address, initrd)
    header.ramdisk_image = address
    header.ramdisk_size = initrd.length
  }

  const line = utf8(`${cmdline}\0`)
  const longest = Math.min((header.version >= 0x206 && header.cmdline_size) || 255, CMDLINE_ROOM - 1)
  if (line.length - 1 > longest)
    throw new BootError(
      `The kernel command line is too long: ${line.length - 1} bytes, and this kernel takes ${longest}. Shorten "cmdline".`,
    )
  place('command line', CMDLINE, line)
  header.cmd_line_ptr = CMDLINE

  if (seed?.length && header.version >= 0x209) {
    const node = SetupData.bytes({ type: SetupData.fields.type.bits.RNG_SEED, len: seed.length })
    place('random seed', SETUP_DATA, Uint8Array.from([...node, ...seed]))
    header.setup_data = SETUP_DATA
  }

  const map = [
    { addr: 0, size: CONVENTIONAL_END, type: RAM },
    { addr: CONVENTIONAL_END, size: MIB - CONVENTIONAL_END, type: RESERVED },
    { addr: MIB, size: memory - MIB, type: RAM },
  ]
  const params = BootParams.bytes({ e820_entries: map.length, hdr })
  for (const [i, entry] of map.entries())
    params.set(E820Entry.bytes(entry), BootParams.offset.e820_table + i * E820Entry.size)
  place('boot_params', PARAMS, params)

  const flat = { base: 0, limit: 0xffffffff }
  const access = PRESENT | NOT_SYSTEM | WRITABLE | ACCESSED
  const cs = { selector: 0x10, ...flat, access: access | CODE }
  const data = { selector: 0x18, ...flat, access }
  const gdt = new Uint8Array(4 * SegmentDescriptor.size)
  for (const { selector, access } of [cs, data])
    gdt.set(SegmentDescriptor.bytes({ limit_0: 0xffff, limit_16: 0xf | SIZE_32 | PAGES, access }), selector)
  place('GDT', GDT, gdt)

  return {
    segments,
    cpu: {
      eip: image.entry,
      esi: PARAMS,
      esp: GDT,
      cr0: 0x11, // PE and ET
      eflags: 0x2,
      gdtr: { base: GDT, limit: gdt.length - 1 },
      cs,
      data,
    },
  }
}

/** Where the kernel ends, in whole pages. */
function checkRoom({ segments }: KernelImage, initrd: Uint8Array | undefined, memory: number): number {
  const low = segments.find(({ address }) => address < MIB)
  if (low)
    throw new BootError(
      `This kernel wants to be at 0x${low.address.toString(16)}, in the first MiB, where this machine keeps its tables: ` +
        'it is no Linux kernel for a PC. Give a bzImage or vmlinux.',
    )
  const end = Math.ceil(Math.max(...segments.map(({ address, length }) => address + length)) / 4096) * 4096
  const needed = end + (initrd?.length ?? 0) + LEAST_FREE
  if (needed > memory)
    throw new BootError(
      `There is too little memory: the kernel ends at ${mib(end)}${initrd ? ` and its initrd takes ${mib(initrd.length)}` : ''}, ` +
        `so the machine needs at least ${mib(needed)} and has ${mib(memory)}. Give it more "memory".`,
    )
  return end
}

const mib = (bytes: number) => `${Math.ceil(bytes / MIB)} MiB`

const utf8 = (text: string) =>
  Uint8Array.from(
    encodeURIComponent(text).replace(/%(..)/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16))),
    c => c.charCodeAt(0),
  )
