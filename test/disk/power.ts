/** A folder whose medium can lose its power: what was not made to last is gone, as on a computer that is unplugged. */

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const run = (program: string, ...args: string[]) =>
  void execFileSync(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })

/** `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`: from now on nothing reaches the medium, not even the journal. */
const SHUTDOWN = `
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack("I", 2))
`

export class PowerSupply {
  private bound = false
  private mounted = false
  private constructor(private readonly place: string) {}

  /** The folder, on an ext4 of its own that writes by itself only every five minutes. */
  get folder() {
    return join(this.place, 'mnt')
  }

  /** Fails with what is missing where this computer does not let us mount. */
  static make(): PowerSupply {
    const supply = new PowerSupply(mkdtempSync(join(tmpdir(), 'ringlet-power-')))
    try {
      if (process.getuid?.() !== 0) throw new Error('only root may mount')
      if (!existsSync('/dev/loop-control')) throw new Error('there is no loop device')
      mkdirSync(supply.folder)
      writeFileSync(supply.image, '')
      // Much room: after a power cut Chromium may count what OPFS holds as 4 GiB too much, and quota is a share of the medium.
      truncateSync(supply.image, 2 ** 35)
      run('mkfs.ext4', '-q', '-F', supply.image)
      // So that other namespaces hear of what is unmounted.
      run('mount', '--bind', supply.place, supply.place)
      supply.bound = true
      run('mount', '--make-shared', supply.place)
      supply.on()
      run('python3', '-c', 'import fcntl')
      return supply
    } catch (error) {
      supply.remove()
      throw error
    }
  }

  private get image() {
    return join(this.place, 'ext4.img')
  }

  /** Power is back: the file system recovers from its journal. */
  on() {
    run('mount', '-o', 'loop,commit=300', this.image, this.folder)
    this.mounted = true
  }

  /** Makes everything so far last, or only the files the pattern matches. */
  settle(files?: RegExp) {
    if (!files) return run('sync', '-f', this.folder)
    const names = readdirSync(this.folder, { recursive: true, encoding: 'utf8' }).filter(name => files.test(name))
    run('sync', ...names.map(name => join(this.folder, name)))
  }

  cut() {
    run('python3', '-c', SHUTDOWN, this.folder)
  }

  /** Call it when nobody uses the folder any more. */
  off() {
    if (!this.mounted) return
    patiently(() => run('umount', this.folder))
    this.mounted = false
    // A process in another mount namespace may have a copy of the mount, and with it the file system as it was at the cut.
    patiently(() => {
      if (execFileSync('losetup', ['-j', this.image], { encoding: 'utf8' }))
        throw new Error(`${this.image} is still mounted`)
    })
  }

  remove() {
    this.off()
    if (this.bound) run('umount', this.place)
    rmSync(this.place, { recursive: true, force: true })
  }
}

/** Tries for a minute. */
function patiently(work: () => void) {
  for (let tries = 0; ; tries++)
    try {
      return work()
    } catch (error) {
      if (tries === 300) throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)
    }
}
