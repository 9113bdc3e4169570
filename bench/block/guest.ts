import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cpio } from '../../test/guest/cpio.ts'
import { unpackInitrd } from '../../worker/initrd.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** The default guest's initramfs, unpacked, with `disk-load` in it. */
export async function initrdWithLoad(): Promise<Uint8Array> {
  const folder = join(root, '.cache/bench/block')
  mkdirSync(folder, { recursive: true })
  const program = join(folder, 'disk-load')
  const source = join(import.meta.dirname, 'disk-load.c')
  const options = '-m32 -O2 -s -ffreestanding -nostdlib -static -fno-pie -no-pie -fno-stack-protector'.split(' ')
  try {
    execFileSync('gcc', [...options, '-idirafter', '/usr/include/x86_64-linux-gnu', '-o', program, source])
  } catch (cause) {
    throw new Error('This benchmark compiles a small program for its guest: install gcc and linux-libc-dev.', { cause })
  }
  const guest = await unpackInitrd(readFileSync(join(root, 'public/guest/initramfs.cpio.zst')))
  const tool = cpio([{ path: 'sbin/disk-load', contents: readFileSync(program), executable: true }])
  return Buffer.concat([guest, new Uint8Array(-guest.length & 3), tool])
}
