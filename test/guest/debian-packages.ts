/** Debian's packages for a 32-bit guest, fetched by an apt of its own, so that the host keeps its one architecture. */

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Asks apt-get for something; answers what it printed. */
export type AptGet = (...words: string[]) => Promise<string>

/**
 * Unpacks into `root` what `choose` names, `NAME:ARCH` for one of the host's own architecture, ARCH.
 * Leaves `root` alone if it is there. Needs apt and dpkg-deb, thus a Debian machine.
 */
export async function unpackPackages(
  root: string,
  choose: (aptGet: AptGet, host: string) => Promise<readonly string[]>,
) {
  if (existsSync(root)) return
  if (!existsSync('/usr/bin/apt-get'))
    throw new Error('Debian’s stock kernel is fetched by apt-get, and this machine has none. Run this test on Debian.')
  const host = (await run('dpkg', ['--print-architecture'])).stdout.trim()
  const partial = `${root}.partial`
  await rm(partial, { recursive: true, force: true })
  const apt = join(partial, 'apt')
  const packages = join(partial, 'packages')
  const unpacked = join(partial, 'root')
  for (const dir of [packages, unpacked, join(apt, 'lists/partial'), join(apt, 'cache/archives/partial')])
    await mkdir(dir, { recursive: true })
  await writeFile(join(apt, 'status'), '')
  const settings = {
    'APT::Architecture': 'i386',
    'APT::Architectures': ['i386', host].join(),
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
    'Dir::State': apt,
    'Dir::State::status': join(apt, 'status'),
    'Dir::Cache': join(apt, 'cache'),
  }
  const options = Object.entries(settings).flatMap(setting => ['-o', setting.join('=')])
  const aptGet: AptGet = async (...words) =>
    (await run('apt-get', ['-q', ...options, ...words], { cwd: packages })).stdout
  // A source of the host's that has nothing for i386 may fail; whether ours did shows at once.
  await aptGet('update').catch(() => {})
  await aptGet('download', ...(await choose(aptGet, host)))
  for (const file of await readdir(packages)) await run('dpkg-deb', ['-x', join(packages, file), unpacked])
  await rename(unpacked, root)
  await rm(partial, { recursive: true })
}
