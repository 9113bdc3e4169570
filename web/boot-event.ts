import type { Wish } from './request.ts'

/** Asks the page for a machine, and for the address that asks for it again; without a wish, the address says it. */
export class BootEvent extends Event {
  constructor(
    readonly wish: Wish | undefined,
    readonly address?: string,
  ) {
    super('boot', { bubbles: true, composed: true })
  }
}
