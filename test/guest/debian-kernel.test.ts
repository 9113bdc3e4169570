import { beforeAll, describe, expect, it } from 'vitest'
import { buildMachine } from '../../cli/node-machine.ts'
import type { Transport } from '../../worker/description.ts'
import { type DebianKernel, debianKernel } from './debian-kernel.ts'

/** In milliseconds: it is a big kernel, much of which is interpreted, and it may have to be fetched. */
const PATIENCE = 900_000

/** Runs a command in a guest of this kernel; its console goes into the failure if it ends before. */
async function inGuest({ kernel, initrd }: DebianKernel, transport: Transport, command: string) {
  let console = ''
  let output = ''
  let ended!: (error: Error) => void
  const end = new Promise<never>((_, reject) => (ended = reject))
  end.catch(() => {})
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1')
  const { machine, exec, start } = await buildMachine({
    ...{ kernel, initrd, transport, exec: true },
    // Its self-tests of ciphers and its search for ISA cards would take longer than all the rest.
    cmdline: 'console=ttyS0 cryptomgr.notests noisapnp',
    events: {
      state(state, detail = '') {
        if (state !== 'booting' && state !== 'running') ended(new Error(`${state} ${detail}\n${console}`))
      },
      output: (_, bytes) => (console += text(bytes)),
      problem: (title, detail) => ended(new Error(`${title}: ${detail}`)),
    },
  })
  try {
    start()
    const to = (bytes: Uint8Array) => (output += text(bytes))
    const status = await Promise.race([exec.run(command, { stdout: to, stderr: to }), end])
    return { status, lines: output.trim().split('\n') }
  } finally {
    await machine.powerOff()
  }
}

describe('Debian’s stock kernel', () => {
  let debian: DebianKernel
  beforeAll(async () => {
    debian = await debianKernel()
  }, PATIENCE)

  it.each<Transport>(['pci', 'pci-legacy'])(
    'boots over %s, with its own virtio modules on our console and entropy devices',
    async transport => {
      const devices = 'for d in /sys/bus/virtio/devices/*; do basename $(readlink $d/driver); cat $d/features; done'
      const { status, lines } = await inGuest(debian, transport, `uname -r; ${devices}; head -c 8 /dev/hwrng | wc -c`)
      const [release, console, consoleFeatures, rng, rngFeatures, bytes] = lines
      expect({ status, release, console, rng, bytes }).toEqual({
        status: 0,
        release: debian.release,
        console: 'virtio_console',
        rng: 'virtio_rng',
        bytes: '8',
      })
      const modern = transport === 'pci' ? '1' : '0'
      expect([consoleFeatures![32], rngFeatures![32]]).toEqual([modern, modern])
    },
    PATIENCE,
  )
})
