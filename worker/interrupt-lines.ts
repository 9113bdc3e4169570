import type { InterruptLine } from '../src/virtio/machine.ts'

/** One input of the interrupt controller: it is up while any of its sharers holds it up. */
export class SharedInterrupt {
  private holders = 0
  constructor(private readonly drive: (level: boolean) => void) {}

  /** A wire of one sharer's own. */
  line(): InterruptLine {
    let held = false
    return {
      set: level => {
        if (level === held) return
        held = level
        this.holders += level ? 1 : -1
        if (this.holders === Number(level)) this.drive(level)
      },
    }
  }
}
