import { type CoreOptions, Feature, type VirtioCore } from '../src/virtio/core.ts'
import type { DeviceSpec, VirtioDevice } from '../src/virtio/device.ts'
import { MmioTransport } from '../src/virtio/mmio.ts'
import { PciTransport } from '../src/virtio/pci.ts'
import { CONFIG_PORTS, PciHost } from '../src/virtio/pci-host.ts'
import type { DeviceDescription } from './description.ts'
import type { Attachment } from './device-types.ts'
import { PCI_RESOURCES, PIRQ_IRQS, type Place, pirq } from './placement.ts'
import type { Board } from './v86.ts'

/** The interrupt routing registers of the PIIX3, as the configuration address names them. */
const PIRQ_ROUTES = 0x80000860

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

/** Does what a BIOS would have done: makes the devices, puts each where it belongs, and routes their interrupts. */
export function powerOn(board: Board, slots: readonly Slot[], bug: (title: string, error: unknown) => void): PoweredOn {
  const undo: (() => void)[] = []
  const bridge = board.ports(CONFIG_PORTS, 8)
  bridge.write(0, 4, PIRQ_ROUTES)
  bridge.write(
    4,
    4,
    PIRQ_IRQS.reduce((word, irq, i) => word | (irq << (8 * i)), 0),
  )
  const host = new PciHost(bridge)
  undo.push(board.mapPorts(CONFIG_PORTS, host))
  const cores = slots.map(({ description, place, attachment }) => {
    const device = attachment.device()
    const common: CoreOptions = {
      memory: board.memory,
      mask: maskOf(description, device),
      onBug: error => bug(`The ${device.spec.name} device failed`, error),
    }
    const line = board.line(place.irq)
    if (place.bus === 'mmio') {
      const transport = new MmioTransport(device, { ...common, line, legacy: place.legacy })
      undo.push(board.mapMemory(place.address, transport))
      return transport.core
    }
    const transport = new PciTransport(device, { ...common, line, kind: place.kind, spaces: board })
    host.plug(place.slot, transport.function)
    undo.push(() => host.unplug(place.slot))
    return transport.core
  })
  host.configure({ ...PCI_RESOURCES }, pirq)
  return {
    cores,
    unplug() {
      for (const core of cores) core.reset()
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
