import type { Interface } from '../src/virtio/core.ts'
import type { Transport } from './description/device.ts'

/** Where a device stands in the machine. */
export type Place =
  | { readonly bus: 'mmio'; readonly legacy: boolean; readonly address: number; readonly irq: number }
  | { readonly bus: 'pci'; readonly kind: Interface; readonly slot: number }

const MMIO_BASE = 0xd0000000
/** A page each, so that a driver that maps its registers maps nobody else's. */
const MMIO_STEP = 0x1000
const MMIO_LENGTH = 0x200
/** Free of v86's own devices; those with the fewest relatives first. */
const MMIO_IRQS = [5, 7, 6, 3, 15, 14, 9, 10, 11]
/** Below them are v86's host, ISA and VGA functions. */
const FIRST_SLOT = 4
/** What the PIIX3's four PIRQ inputs are routed to where no BIOS does it. */
export const PIRQ_IRQS = [10, 11, 9, 5] as const
/** Room for BARs, clear of RAM, of v86's video memory and of its ports. */
export const PCI_RESOURCES = { memory: 0xc0000000, memoryEnd: 0xd0000000, ports: 0xc000, portsEnd: 0xfc00 }

const KINDS = { pci: 'modern', 'pci-transitional': 'transitional', 'pci-legacy': 'legacy' } as const

/** Each device's place, in the order of the description. */
export function place(transports: readonly Transport[]): Place[] {
  let [slots, functions] = [0, 0]
  return transports.map(transport => {
    if (transport === 'mmio' || transport === 'mmio-legacy') {
      const number = slots++
      const irq = MMIO_IRQS[number % MMIO_IRQS.length]!
      return { bus: 'mmio', legacy: transport === 'mmio-legacy', address: MMIO_BASE + number * MMIO_STEP, irq }
    }
    const slot = FIRST_SLOT + functions++
    return { bus: 'pci', kind: KINDS[transport], slot }
  })
}

/** The IRQ of INTA# of a slot, as `PirqRouter` joins them. */
export const pirq = (slot: number) => PIRQ_IRQS[(slot - 1) & 3]!

/** The words that tell Linux of the mmio devices: nothing else would. */
export const announce = (places: readonly Place[]) =>
  places.flatMap(place =>
    place.bus === 'mmio' ? [`virtio_mmio.device=${MMIO_LENGTH}@0x${place.address.toString(16)}:${place.irq}`] : [],
  )

/**
 * What Linux would otherwise find out slowly, or wrongly on a busy host: v86's time stamp counter is exact and runs at 1 GHz,
 * its random numbers are the host's, it has one serial port, and nobody can spy on it.
 */
export const TUNING = 'tsc=reliable tsc_early_khz=1000000 random.trust_cpu=on 8250.nr_uarts=1 mitigations=off'
