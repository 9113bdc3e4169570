import type { Window } from '../src/virtio/machine.ts'

const PAGE_SHIFT = 12
const PAGE = 1 << PAGE_SHIFT

interface Mapping {
  readonly window: Window
  /** Address of its first byte. */
  readonly base: number
}

/** Device windows in guest-physical memory, found by page: v86's own map knows only blocks of 128 KiB. */
export class MemoryWindows {
  /** The last one mapped answers; guests may lay one BAR over another. */
  private readonly pages = new Map<number, Mapping[]>()

  /** `address` is a multiple of 4 KiB, the length is free. Call the answer to take the window away again. */
  add(address: number, window: Window): () => void {
    if (address % PAGE !== 0)
      throw new RangeError(`A device window cannot start inside a page: 0x${address.toString(16)}.`)
    const mapping = { window, base: address }
    const first = address >>> PAGE_SHIFT
    const numbers = Array.from({ length: Math.ceil(window.length / PAGE) }, (_, i) => first + i)
    for (const number of numbers) {
      const there = this.pages.get(number)
      if (there) there.push(mapping)
      else this.pages.set(number, [mapping])
    }
    return () => {
      for (const number of numbers) {
        const left = this.pages.get(number)?.filter(other => other !== mapping)
        if (left?.length) this.pages.set(number, left)
        else this.pages.delete(number)
      }
    }
  }

  /** The window that answers for this (unsigned) address, if there is one. */
  at(address: number): Mapping | undefined {
    const mapping = this.pages.get(address >>> PAGE_SHIFT)?.at(-1)
    return mapping && address - mapping.base < mapping.window.length ? mapping : undefined
  }
}

/** A window onto bytes that the guest cannot change, little-endian. */
export const readOnly = (bytes: Uint8Array): Window => ({
  length: bytes.length,
  read(offset, size) {
    let value = 0
    for (let i = size; i--; ) value = value * 256 + (bytes[offset + i] ?? 0)
    return value
  },
  write() {},
})
