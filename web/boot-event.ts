import type { Wish } from './request.ts'

/** Asks the page for a machine: a description's URL or the wish itself, and the address that asks for it again. */
export class BootEvent extends Event {
  constructor(
    readonly wish: Wish | string,
    readonly address?: string,
  ) {
    super('boot', { bubbles: true, composed: true })
  }
}
