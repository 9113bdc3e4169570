import type { RegisterMap } from '../virtio/layout.ts'
import type { Window } from '../virtio/machine.ts'
import type { WindowKind } from '../virtio/probe.ts'

/** One access of the driver to a device, about to happen. */
export interface Step {
  readonly window: WindowKind
  /** The register's name in its table; for a configuration space, `config`. */
  readonly register: string
  /** From the start of the window, in bytes; so is `size`. */
  readonly offset: number
  readonly size: number
  /** What will be written; absent for a read. */
  readonly value?: number
}

/** Driver code that can be stopped before each access to the device: it happens when the generator is resumed. */
export type Steps<T = void> = Generator<Step, T, void>

/** Runs to the end without stopping. */
export function run<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next()
    if (done) return value
  }
}

type Readable<R extends RegisterMap> = { [K in keyof R]: R[K]['access'] extends 'w' ? never : K }[keyof R] & string
type Writable<R extends RegisterMap> = { [K in keyof R]: R[K]['access'] extends 'r' ? never : K }[keyof R] & string

/** A device's registers as its driver sees them: by name, one step an access. */
export class Registers<R extends RegisterMap> {
  constructor(
    readonly table: R,
    readonly kind: WindowKind,
    readonly window: Window,
  ) {}

  *read(register: Readable<R>): Steps<number> {
    const { at, size } = this.table[register]!
    return yield* readAt(this.window, this.kind, register, at, size)
  }
  *write(register: Writable<R>, value: number): Steps {
    const { at, size } = this.table[register]!
    yield* writeAt(this.window, this.kind, register, at, size, value)
  }
}

export function* readAt(
  window: Window,
  kind: WindowKind,
  register: string,
  offset: number,
  size: number,
): Steps<number> {
  yield { window: kind, register, offset, size }
  return window.read(offset, size)
}

export function* writeAt(
  window: Window,
  kind: WindowKind,
  register: string,
  offset: number,
  size: number,
  value: number,
): Steps {
  yield { window: kind, register, offset, size, value }
  window.write(offset, size, value)
}

/** Part of a window as a window of its own. */
export const part = (window: Window, start: number, length: number): Window => ({
  length,
  read: (offset, size) => window.read(start + offset, size),
  write: (offset, size, value) => window.write(start + offset, size, value),
})
