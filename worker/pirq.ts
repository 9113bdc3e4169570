import type { InterruptLine, Window } from '../src/virtio/machine.ts'
import { SharedInterrupt } from './interrupt-lines.ts'

/** Where the PIIX3 (82371SB, §2.2.8) keeps which IRQ each PIRQ input goes to, as the configuration address names it. */
const ROUTES = 0x80000860
const DISABLED = 0x80
/** The others are reserved for what is on the board itself. */
const ROUTABLE = [3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15]

interface Input {
  readonly sharers: SharedInterrupt
  readonly wires: Map<number, InterruptLine>
  irq: number | undefined
  level: boolean
}

/**
 * The interrupt router in front of the machine's own PCI bridge: firmware and kernels may send each of the four PIRQ inputs
 * to another IRQ at any time, and an interrupt that is up moves with it.
 */
export class PirqRouter implements Window {
  readonly length = 8
  private address = 0
  private readonly inputs: readonly Input[]

  /** `bridge` answers at 0xCF8–0xCFF; `wire` makes a wire to an input of the interrupt controller. */
  constructor(
    private readonly bridge: Window,
    private readonly wire: (irq: number) => InterruptLine,
  ) {
    this.inputs = [0, 1, 2, 3].map(() => {
      const input: Input = {
        sharers: new SharedInterrupt(level => this.drive(input, level)),
        ...{ wires: new Map(), irq: undefined, level: false },
      }
      return input
    })
  }

  /** A wire to INTA# of a slot of bus 0: slot n goes to input n - 1, modulo 4. */
  line(slot: number): InterruptLine {
    return this.inputs[(slot - 1) & 3]!.sharers.line()
  }

  /** What firmware does: one IRQ for each input. */
  configure(irqs: readonly number[]) {
    this.write(0, 4, ROUTES)
    this.write(
      4,
      4,
      irqs.reduce((word, irq, i) => word | (irq << (8 * i)), 0),
    )
  }

  read(offset: number, size: number) {
    return this.bridge.read(offset, size)
  }

  write(offset: number, size: number, value: number) {
    this.bridge.write(offset, size, value)
    if (offset === 0 && size === 4) this.address = value
    else if (offset >= 4 && (this.address & ~3) >>> 0 === ROUTES) this.route()
  }

  private route() {
    this.bridge.write(0, 4, this.address) // v86's bridge looks at a register only when it is addressed
    const routes = this.bridge.read(4, 4)
    this.inputs.forEach((input, index) => {
      const route = (routes >>> (8 * index)) & 0xff
      const irq = route & DISABLED || !ROUTABLE.includes(route) ? undefined : route
      if (irq === input.irq) return
      const { level } = input
      this.drive(input, false)
      input.irq = irq
      this.drive(input, level)
    })
  }

  private drive(input: Input, level: boolean) {
    input.level = level
    if (input.irq === undefined) return
    let wire = input.wires.get(input.irq)
    if (!wire) input.wires.set(input.irq, (wire = this.wire(input.irq)))
    wire.set(level)
  }
}
