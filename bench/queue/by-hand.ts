import type { ArrayMemory } from '../../src/virtio/machine.ts'

/** Where a driver put its rings, and how many descriptors they have. */
export interface Rings {
  readonly size: number
  readonly desc: number
  readonly driver: number
  readonly device: number
}
const { NEXT, WRITE, AVAIL, USED } = { NEXT: 1, WRITE: 2, AVAIL: 0x80, USED: 0x8000 }
const NO_INTERRUPT = 1
const DISABLE = 1

/**
 * What the work comes to if one loop does it all and knows nothing else: every index, address and length is read and
 * checked, the buffers are noted, the used element is written, and the answer is
 * whether the driver wants an interrupt.
 */
export function splitByHand(memory: ArrayMemory, { size, desc, driver, device }: Rings): () => boolean {
  const { view } = memory
  const buffers = new Uint32Array(2 * size)
  let next = 0
  let used = 0
  return () => {
    const idx = view.getUint16(driver + 2, true)
    if (((idx - next) & 0xffff) > size) throw new RangeError('more than a ring holds')
    while (next !== idx) {
      const head = view.getUint16(driver + 4 + 2 * (next & (size - 1)), true)
      next = (next + 1) & 0xffff
      let readable = 0
      let writable = 0
      for (let index = head, steps = 0; ; steps++) {
        if (index >= size || steps === size) throw new RangeError('outside the table, or a loop')
        const at = desc + 16 * index
        const address = view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32
        const length = view.getUint32(at + 8, true)
        const flags = view.getUint16(at + 12, true)
        if (!memory.has(address, length)) throw new RangeError('outside RAM')
        if (flags & WRITE) writable += length
        else if (writable > 0) throw new RangeError('out of order')
        else readable += length
        buffers[2 * steps] = address
        buffers[2 * steps + 1] = length
        if (!(flags & NEXT)) break
        index = view.getUint16(at + 14, true)
      }
      if (readable + writable > 2 ** 32) throw new RangeError('too long')
      const slot = device + 4 + 8 * (used & (size - 1))
      view.setUint32(slot, head, true)
      view.setUint32(slot + 4, 0, true)
      used = (used + 1) & 0xffff
    }
    view.setUint16(device + 2, used, true)
    return !(view.getUint16(driver, true) & NO_INTERRUPT)
  }
}

/** The same for a packed ring. */
export function packedByHand(memory: ArrayMemory, { size, desc, driver }: Rings): () => boolean {
  const { view } = memory
  const buffers = new Uint32Array(2 * size)
  let next = 0
  let lap = AVAIL
  return () => {
    for (;;) {
      const first = next
      const used = lap === AVAIL ? AVAIL | USED : 0
      if ((view.getUint16(desc + 16 * first + 14, true) & (AVAIL | USED)) !== lap) break
      let readable = 0
      let writable = 0
      let id = 0
      for (let steps = 0; ; steps++) {
        const at = desc + 16 * next
        const flags = view.getUint16(at + 14, true)
        if (steps === size || (flags & (AVAIL | USED)) !== lap) throw new RangeError('the chain does not end')
        const address = view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32
        const length = view.getUint32(at + 8, true)
        id = view.getUint16(at + 12, true)
        if (!memory.has(address, length)) throw new RangeError('outside RAM')
        if (flags & WRITE) writable += length
        else if (writable > 0) throw new RangeError('out of order')
        else readable += length
        buffers[2 * steps] = address
        buffers[2 * steps + 1] = length
        if (++next === size) {
          next = 0
          lap ^= AVAIL | USED
        }
        if (!(flags & NEXT)) break
      }
      if (readable + writable > 2 ** 32) throw new RangeError('too long')
      const slot = desc + 16 * first
      view.setUint32(slot + 8, 0, true)
      view.setUint16(slot + 12, id, true)
      view.setUint16(slot + 14, used, true)
    }
    return (view.getUint16(driver + 2, true) & 3) !== DISABLE
  }
}
