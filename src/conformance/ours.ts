/** Our own devices as subjects of the suite. */

import { ConsoleDevice } from '../devices/console.ts'
import { EntropyDevice } from '../devices/entropy.ts'
import { probeMmio } from '../driver/mmio.ts'
import { probePci } from '../driver/pci.ts'
import { run } from '../driver/steps.ts'
import { TestBoard } from '../driver/testing.ts'
import type { VirtioDevice } from '../virtio/device.ts'
import { EmptySlot } from '../virtio/mmio.ts'
import { EchoDevice } from './echo.ts'
import { Rig, type SubjectKind, type Variant } from './rig.ts'

function build(kind: SubjectKind, output: number[]): VirtioDevice {
  if (kind === 'echo') return new EchoDevice()
  if (kind === 'entropy') return new EntropyDevice({ fill: bytes => void bytes.fill(0x5a) })
  return new ConsoleDevice({ ports: [{ output: bytes => void output.push(...bytes) }], multiport: true })
}

/** A fresh machine with one device in it. */
export function open(kind: SubjectKind, variant: Variant, { messages = false } = {}): Rig {
  const output: number[] = []
  const make = () => build(kind, output)
  return rigFor(new TestBoard(1 << 22), make, variant, { messages, output: () => Uint8Array.from(output) })
}

export interface RigOptions {
  readonly messages?: boolean
  readonly output?: () => Uint8Array
  /** Told of errors that are ours; without it they are thrown. */
  readonly onBug?: (error: unknown) => void
}

/** Plugs the device that `make` makes into a board, for the suite's driver. */
export function rigFor(
  board: TestBoard,
  make: () => VirtioDevice,
  variant: Variant,
  { messages = false, output = () => new Uint8Array(), onBug }: RigOptions = {},
): Rig {
  const device = make()
  const { transport: name, forceLegacy = false } = variant
  const { endpoint, line, window, pci, slot } = board.plug(device, {
    transport: name,
    messages,
    ...(onBug && { onBug }),
  })
  const transport = window ? run(probeMmio(window)) : run(probePci(pci!, { forceLegacy }))
  const { core } = endpoint
  return new Rig(
    {
      transport,
      ...(window && { window, empty: new EmptySlot() }),
      ...(pci && { pci }),
      platform: board,
      memory: board.ram,
      arena: board.arena,
      level: () => line.level,
      settle: () => {},
      output,
      inside: {
        core,
        windows: 'function' in endpoint ? { modern: endpoint.modern, legacy: endpoint.legacy } : {},
        ...(device instanceof EchoDevice && { echo: device }),
        masked: mask => new TestBoard(1 << 16).plug(make(), { transport: name, mask }).endpoint.core.offered,
        stores: work => board.ram.watch(work),
        looks: work => {
          const before = board.ram.looks
          work()
          return board.ram.looks - before
        },
        unplug: () => board.host.unplug(slot),
      },
    },
    variant,
  )
}
