/** An uncompressed kernel: `vmlinux`, an i386 ELF file whose segments say where in RAM they belong. */

import { BootError, type Segment } from './plan.ts'
import { ElfHeader, ProgramHeader } from './tables.ts'

const { ELFCLASS64 } = ElfHeader.fields.class.bits
const { ELFDATA2LSB } = ElfHeader.fields.data.bits
const { PT_LOAD } = ProgramHeader.fields.type.bits
const machines = ElfHeader.fields.machine.bits
const machineWords: Record<number, string> = {
  [machines.EM_X86_64]: '64-bit x86 (x86-64)',
  [machines.EM_AARCH64]: '64-bit ARM',
  [machines.EM_ARM]: '32-bit ARM',
  [machines.EM_RISCV]: 'RISC-V',
  [machines.EM_PPC]: 'PowerPC',
}

export const only32Bit = 'this machine is a 32-bit PC. Take an i386 or i686 kernel, such as Debian’s linux-image-686'

/** A kernel ready to be placed. */
export interface KernelImage {
  readonly segments: readonly Segment[]
  /** Physical address of its first instruction. */
  readonly entry: number
}

export const isElf = (bytes: Uint8Array): boolean =>
  bytes.length >= 4 && bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46

/** Its loadable segments at their physical addresses. Fails with `BootError` when it is not for this machine. */
export function readElf(file: Uint8Array): KernelImage {
  const cutShort = () => new BootError('The kernel’s ELF file is cut short: download it again.')
  if (file.length < ElfHeader.size) throw cutShort()
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const header = new ElfHeader(view)
  if (header.class === ELFCLASS64 || header.machine !== machines.EM_386 || header.data !== ELFDATA2LSB) {
    const machine = machineWords[header.machine] ?? `another architecture (ELF machine ${header.machine})`
    throw new BootError(`This kernel is for ${machine}, but ${only32Bit}.`)
  }
  if (header.type !== ElfHeader.fields.type.bits.ET_EXEC)
    throw new BootError(
      'This ELF file is not a kernel: it is no executable with fixed addresses. Give a vmlinux or bzImage.',
    )

  const segments: Segment[] = []
  let entry = header.entry
  for (let i = 0; i < header.phnum; i++) {
    const at = header.phoff + i * header.phentsize
    if (at + ProgramHeader.size > file.length) throw cutShort()
    const { type, offset, vaddr, paddr, filesz, memsz } = new ProgramHeader(view, at)
    if (type !== PT_LOAD || memsz === 0) continue
    if (offset + filesz > file.length) throw cutShort()
    if (filesz > memsz) throw new BootError('The kernel’s ELF file is damaged: a segment is larger than its memory.')
    segments.push({ name: 'kernel', address: paddr, bytes: file.subarray(offset, offset + filesz), length: memsz })
    if (header.entry >= vaddr && header.entry < vaddr + memsz) entry = header.entry - vaddr + paddr
  }
  if (!segments.some(({ address, length }) => entry >= address && entry < address + length))
    throw new BootError(
      'This ELF file is not a kernel: it does not start inside what it loads. Give a vmlinux or bzImage.',
    )
  return { segments, entry }
}
