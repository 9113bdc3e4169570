import { type CoreOptions, Feature, type VirtioCore } from '../src/virtio/core.ts'
import type { DeviceSpec, VirtioDevice } from '../src/virtio/device.ts'
import { MmioTransport } from '../src/virtio/mmio.ts'
import { PciTransport } from '../src/virtio/pci.ts'
import { CONFIG_PORTS, PciHost } from '../src/virtio/pci-host.ts'
import type { DeviceDescription } from './description.ts'
import type { Attachment } from './device-types.ts'
import { PirqRouter } from './pirq.ts'
import { PCI_RESOURCES, PIRQ_IRQS, type Place, pirq } from './placement.ts'
import type { Board } from './v86.ts'

/** A described device, its place and its host side. */
export interface Slot {
  readonly description: DeviceDescription
  readonly place: Place
  readonly attachment: Attachment
}

/** What of a machine is new after every reset. */
export interface PoweredOn {
  /** In the order of the description. */
  readonly cores: readonly VirtioCore[]
  /** Takes the devices off the board again. */
  unplug(): void
}

export interface PowerOnOptions {
  /** A BIOS will run: it gives the PCI functions their places and routes their interrupts. Otherwise that is done here. */
  readonly firmware: boolean
  bug(title: string, error: unknown): void
}

/** Makes the devices and puts each where it belongs. */
export function powerOn(board: Board, slots: readonly Slot[], { firmware, bug }: PowerOnOptions): PoweredOn {
  const undo: (() => void)[] = []
  const router = new PirqRouter(board.ports(CONFIG_PORTS, 8), irq => board.line(irq))
  const host = new PciHost(router)
  undo.push(board.mapPorts(CONFIG_PORTS, host))
  const cores = slots.map(({ description, place, attachment }) => {
    const device = attachment.device()
    const common: CoreOptions = {
      memory: board.memory,
      mask: maskOf(description, device),
      onBug: error => bug(`The ${device.spec.name} device failed`, error),
    }
    if (place.bus === 'mmio') {
      const transport = new MmioTransport(device, { ...common, line: board.line(place.irq), legacy: place.legacy })
      undo.push(board.mapMemory(place.address, transport), () => transport.reset())
      return transport.core
    }
    const line = router.line(place.slot)
    const transport = new PciTransport(device, { ...common, line, kind: place.kind, spaces: board })
    host.plug(place.slot, transport.function)
    undo.push(() => {
      transport.core.reset()
      host.unplug(place.slot)
    })
    return transport.core
  })
  if (!firmware) {
    router.configure(PIRQ_IRQS)
    host.configure({ ...PCI_RESOURCES }, pirq)
  }
  return {
    cores,
    unplug() {
      for (const step of undo.reverse()) step()
    },
  }
}

/** The feature bits a description takes away. */
function maskOf({ type, features }: DeviceDescription, { spec }: VirtioDevice): number[] {
  return (features?.mask ?? []).map(feature => {
    const bit = typeof feature === 'number' ? feature : bitOf(feature, spec)
    if (bit !== undefined) return bit
    throw new Error(
      `The ${type} device has no feature ${feature}. Give its name as Linux spells it, or its bit number.`,
    )
  })
}

function bitOf(name: string, { features }: DeviceSpec): number | undefined {
  const short = name.replace(/^VIRTIO_([A-Z0-9]+_)?F_/, '')
  return features[short] ?? (Feature as Readonly<Record<string, number>>)[short]
}
