/** A module for Debian's stock kernel that tells it of our mmio devices, built when a test wants it. */

import { execFile } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const source = fileURLToPath(new URL('mmio-slots/', import.meta.url))
const NAME = 'virtio_mmio_slots'

const common = (release: string) => release.replace(/-\w+$/, '-common')

/** The packages it is built from, for a host of this architecture. */
export const headerPackages = (release: string, host: string) => [
  `linux-headers-${release}`,
  `linux-headers-${common(release)}`,
  `linux-kbuild-${/^\d+\.\d+/.exec(release)![0]}:${host}`,
]

/**
 * Debian builds without CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES: this module does what that would. Its packages are unpacked
 * in `root`. Needs gcc-12 and make.
 */
export async function mmioSlotsModule(root: string, release: string): Promise<{ name: string; contents: Uint8Array }> {
  const sources = join(root, 'usr/src')
  const headers = join(sources, `linux-headers-${release}`)
  // It names the other package by where that would be installed.
  await writeFile(join(headers, 'Makefile'), `include ${join(sources, `linux-headers-${common(release)}`)}/Makefile\n`)
  const work = await mkdtemp(join(root, 'module-'))
  try {
    await cp(source, work, { recursive: true })
    await promisify(execFile)('make', ['-C', headers, `M=${work}`, 'modules']).catch(error => {
      throw new Error(
        `A module for Debian’s kernel cannot be built; it takes make and gcc-12. ${error.stderr || error.message}`,
      )
    })
    return { name: NAME, contents: await readFile(join(work, `${NAME}.ko`)) }
  } finally {
    await rm(work, { recursive: true })
  }
}
