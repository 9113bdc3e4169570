import { BlockDevice } from '../src/devices/block.ts'
import type { BlockBackend } from '../src/devices/block-backend.ts'
import { ConsoleDevice } from '../src/devices/console.ts'
import { EntropyDevice } from '../src/devices/entropy.ts'
import type { VirtioDevice } from '../src/virtio/device.ts'
import type { DeviceDescription } from './description.ts'
import { attachNet, type Nic } from './net.ts'

/** A described device's host side: made once, when the machine is built, and kept while the machine is reset. */
export interface Attachment {
  /** The device as it is at power-on. */
  device(): VirtioDevice
  /** Lets go of what the host side holds. */
  close?(): void | Promise<void>
}

/** What a device's host side may ask of the machine. */
export interface Surroundings {
  /** What the device is called in messages. */
  readonly name: string
  /** Size of the terminal, in characters, when the device is made. */
  readonly terminal: { readonly columns: number; readonly rows: number }
  /** A console device at power-on: the machine types into it and resizes it. */
  console(device: ConsoleDevice): void
  /** What the guest said on a console's port; valid until the call returns. */
  output(port: number, bytes: Uint8Array): void
  /** The guest opened or closed a console's port. */
  opened(port: number, open: boolean): void
  /** Opens the disk a description means. */
  disk(description: Described<'block'>): Promise<BlockBackend>
  /** Has work done just before the CPU runs next. */
  soon(work: () => void): void
  /** A network card: the page can pull its plug and capture its frames. */
  nic(nic: Nic): void
}

export type Described<T extends string> = Extract<DeviceDescription, { type: T }>
type Attach<T extends string> = (
  description: Described<T>,
  surroundings: Surroundings,
) => Attachment | Promise<Attachment>

/** One line for each device that a description can name. */
const deviceTypes: { readonly [T in DeviceDescription['type']]: Attach<T> } = {
  block: attachBlock,
  console: attachConsole,
  net: attachNet,
  entropy: () => ({ device: () => new EntropyDevice({ fill: target => void crypto.getRandomValues(target) }) }),
}

/** Opens the host side of a described device. */
export const attach = (description: DeviceDescription, surroundings: Surroundings) =>
  (deviceTypes[description.type] as Attach<string>)(description as Described<string>, surroundings)

async function attachBlock(description: Described<'block'>, surroundings: Surroundings): Promise<Attachment> {
  const backend = await surroundings.disk(description)
  const { queues = 1, queueSize = 256 } = description
  return {
    device: () => new BlockDevice(backend, { queues, queueSize }),
    close: () => backend.close?.(),
  }
}

function attachConsole({ ports, multiport }: Described<'console'>, surroundings: Surroundings): Attachment {
  const named: readonly { name?: string; console?: boolean | undefined }[] = ports ?? [{}]
  return {
    device() {
      const device = new ConsoleDevice({
        ports: named.map(({ name, console: terminal }, port) => ({
          ...(name && { name }),
          ...(terminal !== undefined && { terminal }),
          output: bytes => surroundings.output(port, bytes),
          opened: open => surroundings.opened(port, open),
        })),
        ...(multiport !== undefined && { multiport }),
        ...surroundings.terminal,
      })
      surroundings.console(device)
      return device
    },
  }
}
