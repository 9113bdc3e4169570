import type { Window } from './machine.ts'
import { Header, type PciFunction } from './pci-config.ts'

/** Configuration mechanism #1, PCI Local Bus Specification 3.0 §3.2.2.3.2. */
export const CONFIG_PORTS = 0xcf8
const DATA = 4
const ENABLE = 0x80000000

/** Room the firmware gives BARs in, both ends in bytes. */
export interface Resources {
  memory: number
  readonly memoryEnd: number
  ports: number
  readonly portsEnd: number
}

/** The ports 0xCF8–0xCFF: ours answer for our functions, and hand every other access on to the machine's own bridge. */
export class PciHost implements Window {
  readonly length = 8
  /** The configuration address software wrote last. */
  address = 0
  private readonly functions = new Map<number, PciFunction>()

  constructor(private readonly others: Window) {}

  /** Puts a function at device number `slot` of bus 0. */
  plug(slot: number, pciFunction: PciFunction) {
    if (this.functions.has(slot)) throw new Error(`PCI slot ${slot} is taken`)
    this.functions.set(slot, pciFunction)
  }

  unplug(slot: number) {
    this.functions.get(slot)?.unplug()
    this.functions.delete(slot)
  }

  /** What firmware does: gives every BAR a place, enables decoding, and notes the IRQ of each slot's INTA#. */
  configure(resources: Resources, irqOf: (slot: number) => number) {
    for (const [slot, pciFunction] of this.functions) {
      pciFunction.bars.forEach((bar, index) => {
        if (!bar) return
        const space = bar.ports ? 'ports' : 'memory'
        const base = Math.ceil(resources[space] / bar.size) * bar.size
        if (base + bar.size > resources[`${space}End`]) throw new Error('there is no room for more PCI devices')
        resources[space] = base + bar.size
        pciFunction.write(Header.offset.bar0 + 4 * index, 4, base)
      })
      pciFunction.write(Header.offset.interrupt_line, 1, irqOf(slot))
      pciFunction.write(Header.offset.command, 2, Header.fields.command.bits.IO | Header.fields.command.bits.MEMORY)
    }
  }

  read(offset: number, size: number): number {
    if (offset < DATA) return offset === 0 && size === 4 ? this.address : this.others.read(offset, size)
    const target = this.target
    if (!target) return this.others.read(offset, size)
    return target.function?.read(this.register(offset), size) ?? 2 ** (8 * size) - 1
  }

  write(offset: number, size: number, value: number) {
    if (offset === 0 && size === 4) this.address = value >>> 0
    const target = offset < DATA ? undefined : this.target
    if (!target) this.others.write(offset, size, value)
    else target.function?.write(this.register(offset), size, value)
  }

  private register(offset: number) {
    return (this.address & 0xfc) + (offset - DATA)
  }

  /** Whose configuration space the address means: undefined if it is not one of ours. */
  private get target(): { function: PciFunction | undefined } | undefined {
    const { address } = this
    if (!(address & ENABLE) || (address >>> 16) & 0xff) return undefined
    const found = this.functions.get((address >>> 11) & 31)
    return found && { function: (address >>> 8) & 7 ? undefined : found }
  }
}
