import type { Rig, SubjectKind, Variant } from './rig.ts'

/** One requirement or hostile input, as something that can be run against a device. */
export interface Case {
  /** Rn: a requirement. Hn: what a hostile driver does. */
  readonly id: string
  readonly section: string
  readonly title: string
  /** The device it is shown with. `echo` exists in our implementation only. */
  readonly subject: SubjectKind
  readonly options?: { readonly messages?: boolean }
  /** Why it does not apply to a variant. */
  readonly absent?: (variant: Variant) => string | undefined
  /** Fails with `Violation`. Returns a string if the device does not offer what it is about: why it does not apply. */
  run(rig: Rig): string | void
}

export const isMmio = ({ transport }: Variant) => transport.startsWith('mmio')
export const isLegacy = ({ transport, forceLegacy }: Variant) => transport.endsWith('legacy') || forceLegacy === true

export const modernOnly = (variant: Variant) =>
  isLegacy(variant) ? 'the legacy interface has no such rule' : undefined
export const legacyOnly = (variant: Variant) => (isLegacy(variant) ? undefined : 'a rule of the legacy interface')
export const mmioModern = (variant: Variant) => (variant.transport === 'mmio' ? undefined : 'a rule of MMIO version 2')
export const mmioLegacy = (variant: Variant) =>
  variant.transport === 'mmio-legacy' ? undefined : 'a rule of MMIO version 1'
export const mmioAny = (variant: Variant) => (isMmio(variant) ? undefined : 'a rule of MMIO')
export const pciModern = (variant: Variant) =>
  isMmio(variant) || isLegacy(variant) ? 'a rule of the modern PCI interface' : undefined
export const pciLegacy = (variant: Variant) =>
  !isMmio(variant) && isLegacy(variant) ? undefined : 'a rule of the legacy PCI interface'
export const pciAny = (variant: Variant) => (isMmio(variant) ? 'a rule of PCI' : undefined)
export const splitOnly = ({ packed }: Variant) => (packed ? 'a rule of split rings' : undefined)
export const packedOnly = ({ packed }: Variant) => (packed ? undefined : 'a rule of packed rings')
