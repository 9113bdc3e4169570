import { type Handlers, ro, rw, wo } from './layout.ts'
import type { Window } from './machine.ts'
import type { PciTransport } from './pci.ts'
import { NO_VECTOR } from './pci-msix.ts'
import type { Virtqueue } from './queue.ts'
import { RegisterFile } from './register-file.ts'

/** §4.1.4.10: the legacy interface, in BAR 0, an I/O BAR. */
export const LegacyPciRegisters = {
  device_features: ro(0x00, 'the low 32 offered feature bits'),
  driver_features: rw(0x04, 'the low 32 accepted feature bits'),
  queue_address: rw(0x08, 'page frame number of the rings; 0 stops the queue'),
  queue_size: ro(0x0c, 'size of the selected queue; 0 if there is none', 2),
  queue_select: rw(0x0e, 'the queue queue_address and queue_size mean', 2),
  queue_notify: wo(0x10, 'the driver has put buffers in this queue', 2),
  device_status: rw(0x12, 'how far the driver has come; 0 resets', 1),
  isr_status: ro(0x13, 'why the interrupt is up; reading clears it', 1, { USED_BUFFER: 1, CONFIGURATION_CHANGE: 2 }),
} as const

/** They are there only while MSI-X is enabled, and push the device configuration up. */
export const LegacyMsixRegisters = {
  ...LegacyPciRegisters,
  config_msix_vector: rw(0x14, 'MSI-X vector of configuration changes', 2),
  queue_msix_vector: rw(0x16, 'MSI-X vector of the selected queue', 2),
} as const

const CONFIG = 0x14
const CONFIG_WITH_MSIX = 0x18
/** §4.1.5.1.3.1: the unit of queue_address, and what the used ring is aligned to. */
const PAGE = 4096

/** The legacy interface of a transitional or legacy function. */
export class LegacyWindow implements Window {
  readonly length: number
  private queueSelect = 0
  private readonly plain: RegisterFile<typeof LegacyPciRegisters>
  private readonly withMsix: RegisterFile<typeof LegacyMsixRegisters>

  constructor(private readonly transport: PciTransport) {
    this.length = CONFIG_WITH_MSIX + (transport.core.device.config?.length ?? 0)
    const handlers = this.handlers()
    this.plain = new RegisterFile(LegacyPciRegisters, handlers)
    this.withMsix = new RegisterFile(LegacyMsixRegisters, { ...handlers, ...this.msixHandlers() })
  }

  private get config() {
    return this.transport.msix?.enabled ? CONFIG_WITH_MSIX : CONFIG
  }
  private get registers() {
    return this.transport.msix?.enabled ? this.withMsix : this.plain
  }

  read(offset: number, size: number): number {
    const { core } = this.transport
    const value = offset < this.config ? this.registers.read(offset, size) : core.readConfig(offset - this.config, size)
    core.probe?.access('legacy', false, offset, size, value)
    return value
  }

  write(offset: number, size: number, value: number) {
    const { core } = this.transport
    core.probe?.access('legacy', true, offset, size, value)
    if (offset < this.config) this.registers.write(offset, size, value)
    else core.writeConfig(offset - this.config, size, value)
  }

  private get queue(): Virtqueue | undefined {
    return this.transport.core.queues[this.queueSelect]
  }

  private handlers(): Handlers<typeof LegacyPciRegisters> {
    const { transport } = this
    const { core } = transport
    return {
      device_features: { read: () => core.offeredWord(0, true) },
      driver_features: { read: () => core.acceptedWord(0), write: value => core.accept(0, value) },
      queue_address: {
        read: () => (this.queue ? this.queue.desc / PAGE : 0),
        write: value => {
          if (this.queue) core.place(this.queue, value * PAGE, PAGE)
        },
      },
      queue_size: { read: () => this.queue?.size ?? 0 },
      queue_select: { read: () => this.queueSelect, write: value => void (this.queueSelect = value) },
      queue_notify: { write: value => core.kick(value) },
      device_status: { read: () => core.status, write: value => this.setStatus(value) },
      isr_status: { read: () => transport.readIsr() },
    }
  }

  private msixHandlers() {
    const { transport } = this
    return {
      config_msix_vector: {
        read: () => transport.configVector,
        write: (value: number) => void (transport.configVector = transport.vector(value)),
      },
      queue_msix_vector: {
        read: () => transport.queueVectors[this.queueSelect] ?? NO_VECTOR,
        write: (value: number) => {
          if (this.queue) transport.queueVectors[this.queue.index] = transport.vector(value)
        },
      },
    }
  }

  private setStatus(value: number) {
    this.transport.setStatus(value, true)
    if (value === 0) this.queueSelect = 0
  }
}
