import { transports } from '../driver/testing.ts'
import type { Case } from './case.ts'
import { common } from './common.ts'
import { hostile } from './hostile.ts'
import { mmio } from './mmio.ts'
import { pciCases } from './pci.ts'
import type { Variant } from './rig.ts'
import { rings } from './rings.ts'

const order = ({ id }: Case) => Number(/\d+/.exec(id)![0]) + (id.startsWith('H') ? 1000 : 0)

/** Every requirement and every hostile input, by number. */
export const cases: readonly Case[] = [...common, ...rings, ...mmio, ...pciCases, ...hostile].sort(
  (a, b) => order(a) - order(b),
)

/** Every transport with every ring format; a transitional function from both sides. */
export const conformanceVariants: readonly (Variant & { readonly title: string })[] = transports.flatMap(transport => {
  const legacy = { transport, packed: false, title: transport }
  if (transport.endsWith('legacy')) return [legacy]
  const modern = [
    { transport, packed: false, title: `${transport} split` },
    { transport, packed: true, title: `${transport} packed` },
  ]
  return transport === 'pci-transitional'
    ? [{ ...legacy, forceLegacy: true, title: 'pci-transitional by its legacy interface' }, ...modern]
    : modern
})
