/** iperf3 for the guests: from Debian's packages, as an initramfs behind the default guest's own. */

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { unpackInitrd } from '../../worker/initrd.ts'
import { cpio } from '../guest/cpio.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const CACHE = join(root, '.cache/iperf3')
const PACKAGES = ['iperf3', 'libiperf0', 'libsctp1', 'libssl3', 'libc6']
/** What the default guest does not have of them. */
const FILES = ['usr/bin/iperf3', 'libiperf.so.0', 'libsctp.so.1', 'libcrypto.so.3', 'libm.so.6']
const LIBRARIES = 'lib/i386-linux-gnu'

/** Both in one archive, not compressed: v86's guest and ours get the same. */
export async function initrdWithIperf(): Promise<Buffer> {
  if (!existsSync(join(CACHE, FILES[0]!))) download()
  const files = FILES.map(name => {
    const program = name.includes('/')
    const found = [name, `usr/${LIBRARIES}/${name}`, `${LIBRARIES}/${name}`].find(path => existsSync(join(CACHE, path)))
    if (!found) throw new Error(`Debian’s packages of iperf3 for i386 have no ${name} any more.`)
    const path = program ? name : `${LIBRARIES}/${name}`
    return { path, contents: readFileSync(join(CACHE, found)), executable: program }
  })
  const guest = await unpackInitrd(readFileSync(join(root, 'public/guest/initramfs.cpio.zst')))
  return Buffer.concat([guest, Buffer.alloc(-guest.length & 511), cpio(files)])
}

/** By an apt of its own, so that nothing of this machine's changes. */
function download() {
  const state = join(CACHE, 'apt')
  for (const directory of ['lists/partial', 'cache/archives/partial', 'none'])
    mkdirSync(join(state, directory), { recursive: true })
  writeFileSync(join(state, 'status'), '')
  const configuration = join(state, 'apt.conf')
  writeFileSync(
    configuration,
    `APT::Architecture "i386"; APT::Architectures { "i386"; }; APT::Sandbox::User "root"; Acquire::Languages "none";
     Dir::State "${state}"; Dir::State::status "${state}/status"; Dir::Cache "${state}/cache";
     Dir::Etc::preferences "${state}/none/preferences"; Dir::Etc::preferencesparts "${state}/none";`,
  )
  const run = (command: string, ...args: string[]) =>
    execFileSync(command, args, {
      ...{ cwd: CACHE, stdio: ['ignore', 'ignore', 'pipe'] },
      env: { ...process.env, APT_CONFIG: configuration },
    })
  try {
    process.stderr.write('iperf3 for the guests: asking apt for Debian’s i386 packages\n')
    try {
      run('apt-get', '-qq', 'update')
    } catch {
      // One list that fails does no harm as long as the packages are in the others.
    }
    run('apt-get', '-qq', 'download', ...PACKAGES)
    for (const archive of readdirSync(CACHE).filter(name => name.endsWith('.deb'))) run('dpkg-deb', '-x', archive, '.')
  } catch (error) {
    throw new Error(`The guests need Debian’s iperf3 for i386, and apt did not give it: ${(error as Error).message}`)
  }
}
