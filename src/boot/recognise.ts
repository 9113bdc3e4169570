/** What a file is by its first bytes, in words: for telling somebody what they took for a kernel. */

import { isBzImage } from './bzimage.ts'

/** How the kernel's own unpacker tells them apart (lib/decompress.c); lz4 is the legacy frame only. */
const compressions = {
  gzip: [0x1f, 0x8b],
  xz: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00],
  zstd: [0x28, 0xb5, 0x2f, 0xfd],
  lzma: [0x5d, 0x00, 0x00],
  lz4: [0x02, 0x21, 0x4c, 0x18],
  bzip2: [0x42, 0x5a, 0x68],
  lzo: [0x89, 0x4c, 0x5a],
} as const
export type Compression = keyof typeof compressions

const has = (bytes: Uint8Array, at: number, magic: ArrayLike<number>) =>
  Array.from(magic).every((byte, i) => bytes[at + i] === byte)
const ascii = (text: string) => Array.from(text, c => c.charCodeAt(0))

/** The compression whose magic number the bytes start with. */
export function compressionOf(bytes: Uint8Array): Compression | undefined {
  return (Object.keys(compressions) as Compression[]).find(name => has(bytes, 0, compressions[name]))
}

const CD = { at: 0x8001, magic: ascii('CD001') }
const BOOT_SECTOR = { at: 0x1fe, magic: [0x55, 0xaa] }

/** An ISO 9660 image, by its first 34 KiB. */
export const isCd = (bytes: Uint8Array): boolean => has(bytes, CD.at, CD.magic)
/** A disk image whose first sector a BIOS would start. Old kernels began with one, too. */
export const isBootable = (bytes: Uint8Array): boolean =>
  has(bytes, BOOT_SECTOR.at, BOOT_SECTOR.magic) && !isBzImage(bytes)

const others: readonly (readonly [words: string, at: number, magic: readonly number[]])[] = [
  ['a cpio archive, which is an initrd rather than a kernel', 0, ascii('07070')],
  ['an ISO image: give it as "cdrom" with a "bios" to start from', CD.at, CD.magic],
  ['a qcow2 disk image', 0, [...ascii('QFI'), 0xfb]],
  ['a squashfs file system', 0, ascii('hsqs')],
  ['an ext2/3/4 file system', 0x438, [0x53, 0xef]],
  ['an arm64 Linux kernel', 56, ascii('ARM\x64')],
  ['a RISC-V Linux kernel', 56, ascii('RSC\x05')],
  ['an ARM Linux kernel', 0x24, [0x18, 0x28, 0x6f, 0x01]],
  ['a U-Boot image', 0, [0x27, 0x05, 0x19, 0x56]],
  ['an Android boot image', 0, ascii('ANDROID!')],
  ['a zip archive: unpack it first', 0, ascii('PK\x03\x04')],
  ['a Debian package: unpack it and take its boot/vmlinuz-*', 0, ascii('!<arch>\ndebian')],
  ['an RPM package: unpack it first', 0, [0xed, 0xab, 0xee, 0xdb]],
  ['a tar archive: unpack it first', 257, ascii('ustar')],
  ['a Git LFS pointer instead of the file itself', 0, ascii('version https://git-lfs')],
  ['an EFI or Windows program (PE)', 0, ascii('MZ')],
  ['a boot sector or disk image: give it as a disk with a "bios" to start from', BOOT_SECTOR.at, BOOT_SECTOR.magic],
]

/** Whether it is an HTML page, which is what many servers answer for a file they do not have. */
export function isHtml(bytes: Uint8Array): boolean {
  const start = String.fromCharCode(...bytes.subarray(0, 256))
  return /^(\xef\xbb\xbf)?\s*(<!--|<\?xml[^>]*>\s*)?<(!doctype html|html|head|body)/i.test(start)
}

/** Completes "this is …". */
export function describeFile(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'an empty file'
  if (isHtml(bytes)) return 'an HTML page: check the address'
  const compression = compressionOf(bytes)
  if (compression) return `${compression}-compressed data`
  const other = others.find(([, at, magic]) => has(bytes, at, magic))
  if (other) return other[0]
  const start = bytes.subarray(0, 64)
  if (start.every(byte => (byte >= 32 && byte < 127) || (byte >= 9 && byte <= 13)))
    return `text, starting with "${String.fromCharCode(...start.subarray(0, 40)).split(/[\r\n]/)[0]}"`
  return `data that starts with ${Array.from(start.subarray(0, 8), byte => byte.toString(16).padStart(2, '0')).join(' ')}`
}
