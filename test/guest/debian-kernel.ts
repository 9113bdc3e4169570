/** Debian's stock 32-bit kernel, fetched when a test wants it, with its own virtio modules in an initramfs around busybox. */

import { readdir, readFile, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { decompress } from '../../worker/decompress.ts'
import { type CpioFile, cpio } from './cpio.ts'
import { headerPackages, mmioSlotsModule } from './debian-module.ts'
import { type AptGet, unpackPackages } from './debian-packages.ts'

const cache = fileURLToPath(new URL('../../.cache/debian-kernel/', import.meta.url))
const agent = new URL('../../guest/rootfs/sbin/ringlet-exec', import.meta.url)

export interface DebianKernel {
  /** Files. */
  readonly kernel: string
  readonly initrd: string
  /** `/lib/modules/RELEASE` of the package. */
  readonly modulesDir: string
  /** As `uname -r` says it. */
  readonly release: string
}

/**
 * The initrd loads these modules and what they depend on, runs the agent for `--exec` if its word is on the command
 * line, and puts a shell on /dev/hvc0. With `virtio_mmio` the kernel gets to know our mmio devices, too (`debian-module`).
 * Needs apt and dpkg-deb, thus a Debian machine; some 150 MB are kept in `.cache/`.
 */
export async function debianKernel(
  modules: readonly string[] = ['virtio_pci', 'virtio_console', 'virtio_rng'],
): Promise<DebianKernel> {
  const root = join(cache, 'root')
  await unpackPackages(root, choose)
  const [release] = await readdir(join(root, 'lib/modules'))
  if (!release) throw new Error(`There are no modules in ${root}. Remove it and try again.`)
  const modulesDir = join(root, 'lib/modules', release)
  const initrd = join(cache, `${modules.join('+')}.cpio`)
  await writeFile(initrd, cpio(await initramfs(root, modulesDir, modules)))
  return { kernel: join(root, 'boot', `vmlinuz-${release}`), initrd, modulesDir, release }
}

async function choose(aptGet: AptGet, host: string): Promise<readonly string[]> {
  const uris = await aptGet('--print-uris', '--no-install-recommends', 'install', 'linux-image-686')
  const image = /linux-image-\d[^_\s']*-686(?=_)/.exec(uris)?.[0]
  if (!image) throw new Error('apt-get knows no linux-image-686: are Debian’s own sources in /etc/apt?')
  return [image, 'busybox-static', ...headerPackages(image.replace('linux-image-', ''), host)]
}

async function initramfs(root: string, modulesDir: string, wanted: readonly string[]): Promise<CpioFile[]> {
  const files: CpioFile[] = ['bin', 'dev', 'proc', 'sys', 'modules', 'root', 'sbin'].map(path => ({ path }))
  const program = (path: string, contents: Uint8Array) => files.push({ path, contents, executable: true })
  program('bin/busybox', await readFile(join(root, 'bin/busybox')))
  program('init', Buffer.from(init))
  program('sbin/ringlet-exec', await readFile(agent))
  program('sbin/ringlet-ports', Buffer.from(namePorts))
  const modules = await inOrder(modulesDir, wanted)
  if (wanted.includes('virtio_mmio')) modules.push(await mmioSlotsModule(root, basename(modulesDir)))
  for (const [index, { name, contents }] of modules.entries())
    files.push({ path: `modules/${String(index).padStart(2, '0')}-${name}.ko`, contents })
  return files
}

interface Module {
  readonly name: string
  readonly contents: Uint8Array
}

/** Each behind those it depends on, as its `.modinfo` section names them: the package has no modules.dep yet. */
async function inOrder(modulesDir: string, wanted: readonly string[]): Promise<Module[]> {
  const paths = new Map<string, string>()
  for (const entry of await readdir(modulesDir, { recursive: true })) {
    const name = /^(.+)\.ko(\.xz|\.zst|\.gz)?$/.exec(basename(entry))?.[1]
    if (name) paths.set(name.replaceAll('-', '_'), join(modulesDir, entry))
  }
  const loaded = new Map<string, Module>()
  const add = async (name: string) => {
    const path = paths.get(name)
    if (!path) throw new Error(`There is no module ${name} in ${modulesDir}.`)
    const file = await readFile(path)
    const contents = (await decompress(file)) ?? file
    const depends = /\0depends=([^\0]*)\0/.exec(Buffer.from(contents).toString('latin1'))?.[1] ?? ''
    for (const other of depends.split(',').filter(Boolean)) if (!loaded.has(other)) await add(other)
    loaded.set(name, { name, contents })
  }
  for (const name of wanted) if (!loaded.has(name)) await add(name)
  return [...loaded.values()]
}

const init = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
export PATH=/bin:/sbin HOME=/root
slots=
for word in $(cat /proc/cmdline); do
  case $word in virtio_mmio.device=*) slots=$slots,\${word#*=};; esac
done
for module in /modules/*.ko; do
  case $module in
    *_slots.ko) words=device=\${slots#,};;
    *) words=
  esac
  insmod $module $words || echo "$module cannot be loaded" > /dev/kmsg
done
grep -q ringlet.exec /proc/cmdline && ringlet-exec &
until (exec < /dev/hvc0) 2> /dev/null; do sleep 0.1; done # the node is there before the port is
exec < /dev/hvc0 > /dev/hvc0 2>&1
echo "Debian's kernel $(uname -r) is up."
while :; do setsid cttyhack sh; done
`

/** What udev does elsewhere. */
const namePorts = `#!/bin/busybox sh
mkdir -p /dev/virtio-ports
for port in /sys/class/virtio-ports/*; do
  read name < $port/name && ln -sf ../\${port##*/} /dev/virtio-ports/$name
done
`
