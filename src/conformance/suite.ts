import { transports } from '../driver/testing.ts'
import type { Case } from './case.ts'
import { common } from './common.ts'
import { access } from './hostile/access.ts'
import { chains } from './hostile/chains.ts'
import { indices } from './hostile/indices.ts'
import { indirect } from './hostile/indirect.ts'
import { lifecycle } from './hostile/lifecycle.ts'
import { queues } from './hostile/queues.ts'
import { legacy } from './legacy.ts'
import { mmio } from './mmio.ts'
import { pciCases } from './pci.ts'
import { pciInterrupts } from './pci-interrupts.ts'
import type { Variant } from './rig.ts'
import { rings } from './rings.ts'

const order = ({ id }: Case) => Number(/\d+/.exec(id)![0]) + (id.startsWith('H') ? 1000 : 0)

/** Every requirement and every hostile input, by number. */
export const cases: readonly Case[] = [
  ...common,
  ...rings,
  ...mmio,
  ...pciCases,
  ...pciInterrupts,
  ...legacy,
  ...[...chains, ...indirect, ...indices, ...queues, ...lifecycle, ...access],
].sort((a, b) => order(a) - order(b))

/** Every transport with every ring format; a transitional function from both sides. */
export const conformanceVariants: readonly (Variant & { readonly title: string })[] = transports.flatMap(transport => {
  const split = { transport, packed: false, title: transport }
  if (transport.endsWith('legacy')) return [split]
  const modern = [
    { transport, packed: false, title: `${transport} split` },
    { transport, packed: true, title: `${transport} packed` },
  ]
  return transport === 'pci-transitional'
    ? [{ ...split, forceLegacy: true, title: 'pci-transitional by its legacy interface' }, ...modern]
    : modern
})
