/** Disks and CDs that boot by a BIOS, made of Debian's boot loaders and the default guest; nothing is mounted. */

import { execFileSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { decompress } from '../../worker/decompress.ts'

const guest = fileURLToPath(new URL('../../public/guest/', import.meta.url))
const SECTOR = 512
/** Where the partition begins: the boot loader fits in front of it. */
const PARTITION = 2048 * SECTOR
/** In bytes. */
const FILE_SYSTEM = 24 * 2 ** 20

/** What the kernel is told; the agent for `exec` runs. */
const WORDS = 'console=hvc0 quiet tsc=reliable tsc_early_khz=1000000 ringlet.exec'

/** Files the tests take from Debian, and their packages. */
const needs = {
  '/usr/share/seabios/bios-256k.bin': 'seabios',
  '/usr/lib/grub/i386-pc/boot.img': 'grub-pc-bin',
  '/usr/bin/grub-mkimage': 'grub-common',
  '/usr/lib/ISOLINUX/isolinux.bin': 'isolinux',
  '/usr/lib/syslinux/modules/bios/ldlinux.c32': 'syslinux-common',
  '/usr/bin/xorriso': 'xorriso',
}
export const [BIOS] = Object.keys(needs) as [string]

/** Fails with what to install, if something is. */
export function needBootLoaders() {
  const missing = Object.entries(needs).flatMap(([file, name]) => (existsSync(file) ? [] : [name]))
  if (missing.length > 0)
    throw new Error(`These tests boot by a BIOS: apt-get install --no-install-recommends ${missing.join(' ')}`)
}

async function inFolder<T>(work: (folder: string) => Promise<T>) {
  const folder = mkdtempSync(join(tmpdir(), 'ringlet-boot-'))
  try {
    return await work(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** The default guest's files and its kernel, as a root file system. */
async function rootFiles(folder: string) {
  const root = join(folder, 'root')
  mkdirSync(join(root, 'boot'), { recursive: true })
  const archive = await decompress(readFileSync(join(guest, 'initramfs.cpio.zst')))
  execFileSync('cpio', ['--quiet', '-idm'], { cwd: root, input: archive! })
  cpSync(join(guest, 'bzImage'), join(root, 'boot/bzImage'))
  return root
}

/** ext4 at an offset in a file, made without mounting it. */
function makeExt4(path: string, root: string, offset = 0) {
  writeFileSync(path, '')
  const size = ['-E', `offset=${offset}`, path, `${FILE_SYSTEM / 1024}k`]
  execFileSync('mke2fs', ['-q', '-t', 'ext4', '-d', root, ...size])
}

/** A raw disk that is one ext4 file system, to be the root of a kernel started directly: `root=/dev/vda rw init=/init`. */
export const rootDisk = (path: string) => inFolder(async folder => makeExt4(path, await rootFiles(folder)))

/** A raw disk: GRUB, and one ext4 partition with the default guest's files as its root file system. */
export const grubDisk = (path: string) =>
  inFolder(async folder => {
    const root = await rootFiles(folder)
    const config = join(folder, 'grub.cfg')
    writeFileSync(config, `linux (hd0,msdos1)/boot/bzImage root=/dev/vda1 rw init=/init ${WORDS}\nboot\n`)
    const core = join(folder, 'core.img')
    const modules = ['biosdisk', 'part_msdos', 'ext2', 'linux', 'boot']
    execFileSync('grub-mkimage', ['-O', 'i386-pc', '-o', core, '-p', '(hd0,msdos1)/boot', '-c', config, ...modules])

    makeExt4(path, root, PARTITION)
    const disk = openSync(path, 'r+')
    writeSync(disk, readFileSync('/usr/lib/grub/i386-pc/boot.img'), 0, 440, 0)
    writeSync(disk, partitionTable(PARTITION / SECTOR, FILE_SYSTEM / SECTOR), 0, 66, 446)
    writeSync(disk, readFileSync(core), 0, undefined, SECTOR)
  })

/** One active Linux partition, and the signature. */
function partitionTable(first: number, count: number) {
  const table = new DataView(new ArrayBuffer(66))
  table.setUint8(0, 0x80)
  table.setUint8(4, 0x83)
  table.setUint32(8, first, true)
  table.setUint32(12, count, true)
  table.setUint16(64, 0xaa55, true)
  return new Uint8Array(table.buffer)
}

/** A CD: isolinux, kernel and initramfs. */
export const isolinuxCd = (path: string) =>
  inFolder(async folder => {
    for (const file of ['bzImage', 'initramfs.cpio.zst']) cpSync(join(guest, file), join(folder, file))
    cpSync('/usr/lib/ISOLINUX/isolinux.bin', join(folder, 'isolinux.bin'))
    cpSync('/usr/lib/syslinux/modules/bios/ldlinux.c32', join(folder, 'ldlinux.c32'))
    writeFileSync(
      join(folder, 'isolinux.cfg'),
      `default linux\nlabel linux\n  kernel bzImage\n  append initrd=initramfs.cpio.zst ${WORDS}\n`,
    )
    const boot = ['-b', 'isolinux.bin', '-c', 'boot.cat', '-no-emul-boot', '-boot-load-size', '4', '-boot-info-table']
    execFileSync('xorriso', ['-as', 'mkisofs', '-quiet', '-V', 'RINGLET', '-o', path, ...boot, folder], {
      stdio: 'pipe',
    })
  })
