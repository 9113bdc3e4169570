/** What a described machine starts with, from wherever its files are. */

import { BootError } from '../src/boot/plan.ts'
import type { MachineDescription } from './description.ts'
import { prepareFirmware } from './firmware.ts'
import { type LinuxRequest, prepareLinux } from './linux.ts'
import type { First } from './machine.ts'

type Options = Pick<LinuxRequest, 'openFile' | 'signal' | 'progress'>

export interface PreparedBoot {
  /** Milliseconds, by what took them. */
  readonly phases: Readonly<Record<string, number>>
  /** `cmdline` is the machine's, for a kernel. */
  first(cmdline: string): First
}

/** Loads a kernel and its initrd, or a BIOS. Fails with `LoadError` or `BootError`, or with the signal's reason. */
export async function prepareBoot(description: MachineDescription, options: Options): Promise<PreparedBoot> {
  const { kernel, initrd, bios, memory } = description
  if (bios) {
    const started = performance.now()
    const firmware = await prepareFirmware({ bios, ...options })
    return { phases: { 'BIOS download': performance.now() - started }, first: () => firmware }
  }
  if (!kernel) throw new BootError('This machine has nothing to start: give it a "kernel" or a "bios".')
  const linux = await prepareLinux({ kernel, initrd, memory: memory * 2 ** 20, ...options })
  return { phases: linux.phases, first: cmdline => () => linux.plan(cmdline) }
}
