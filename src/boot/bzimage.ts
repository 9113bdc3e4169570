/** A `bzImage`: real-mode setup code, then the protected-mode code that carries the compressed kernel. */

import type { Infer } from '../virtio/layout.ts'
import { only32Bit } from './elf.ts'
import { BootError } from './plan.ts'
import { SETUP_HEADER_AT, SetupHeader } from './tables.ts'

const HDRS = 0x53726448
const { LOADED_HIGH } = SetupHeader.fields.loadflags.bits
const { XLF_KERNEL_64 } = SetupHeader.fields.xloadflags.bits

export interface BzImage {
  /** Fields that the image's protocol version does not have are zero. */
  readonly header: Infer<typeof SetupHeader>
  /** The same as bytes, as `boot_params.hdr` wants it. */
  readonly headerBytes: Uint8Array
  /** As in `uname -r` and the rest of `uname -v`; empty if the image does not say. */
  readonly version: string
  /** The code whose first instruction unpacks the kernel. */
  readonly protectedMode: Uint8Array
  /** The compressed kernel in it, if the image says where. */
  readonly payload: Uint8Array | undefined
}

/** Whether these bytes have a Linux/x86 setup header. */
export function isBzImage(file: Uint8Array): boolean {
  return file.length >= 0x210 && new DataView(file.buffer, file.byteOffset).getUint32(0x202, true) === HDRS
}

/** Fails with `BootError` when this machine cannot start it. */
export function readBzImage(file: Uint8Array): BzImage {
  // The header is as long as its jump says; what an older protocol does not have must read as zero, not as code.
  const headerBytes = new Uint8Array(SetupHeader.size)
  headerBytes.set(file.subarray(SETUP_HEADER_AT, Math.min(0x202 + file[0x201]!, SETUP_HEADER_AT + SetupHeader.size)))
  const header = new SetupHeader(new DataView(headerBytes.buffer))

  if (header.version < 0x200 || !(header.loadflags & LOADED_HIGH))
    throw new BootError(
      'This kernel is a zImage of the last century, loaded low: only bzImage and vmlinux can be started.',
    )
  if (header.xloadflags & XLF_KERNEL_64 && header.version >= 0x20c)
    throw new BootError(`This kernel is for 64-bit x86 (x86-64), but ${only32Bit}.`)

  const start = ((header.setup_sects || 4) + 1) * 512
  const end = start + header.syssize * 16
  // syssize is rounded up to paragraphs, and its upper half may be stale before 2.04.
  if (header.version >= 0x204 && file.length < end - 15)
    throw new BootError(`The kernel is cut short: ${file.length} of ${end} bytes are there. Download it again.`)
  const protectedMode = file.subarray(start, header.version >= 0x204 ? end : undefined)

  const { payload_offset: offset, payload_length: length } = header
  const hasPayload = header.version >= 0x208 && offset > 0 && length > 4 && offset + length <= protectedMode.length
  return {
    header,
    headerBytes,
    version: versionString(file, header.kernel_version),
    protectedMode,
    payload: hasPayload ? protectedMode.subarray(offset, offset + length) : undefined,
  }
}

function versionString(file: Uint8Array, at: number): string {
  if (at === 0) return ''
  const bytes = file.subarray(0x200 + at, 0x200 + at + 256)
  const end = bytes.indexOf(0)
  return end < 0 ? '' : String.fromCharCode(...bytes.subarray(0, end))
}
