import { Header } from '../virtio/pci-config.ts'
import { LinuxError } from './errno.ts'
import type { PciDevice } from './pci-device.ts'
import { probeLegacyPci } from './pci-legacy.ts'
import { probeModernPci } from './pci-modern.ts'
import type { Steps } from './steps.ts'
import type { DmaMask, Transport } from './transport.ts'

export interface PciProbeOptions {
  /** The module parameter of `virtio_pci`: try the legacy interface first. */
  readonly forceLegacy?: boolean
  readonly dma?: DmaMask
  readonly log?: (line: string) => void
}

/** "Qumranet donated their vendor ID for devices 0x1000 thru 0x10FF." */
export const VENDOR = 0x1af4

/**
 * Takes the interface a function has: Linux's `virtio_pci_probe`.
 * Fails with ENODEV (no virtio function), EINVAL (a modern one that lacks a part) or what its BARs lack.
 */
export function* probePci(pci: PciDevice, options: PciProbeOptions = {}): Steps<Transport> {
  if ((yield* pci.get('vendor')) !== VENDOR) throw new LinuxError('ENODEV', 'not a virtio function')
  const { IO, MEMORY, MASTER } = Header.fields.command.bits
  yield* pci.enable(IO | MEMORY)
  const transport = options.forceLegacy
    ? // Also try the modern interface if BAR 0 cannot be mapped: there may be no I/O space.
      yield* either(probeLegacyPci(pci, options), ['ENODEV', 'ENOMEM'], probeModernPci(pci, options))
    : yield* either(probeModernPci(pci, options), ['ENODEV'], probeLegacyPci(pci, options))
  yield* pci.enable(MASTER)
  return transport
}

/** The first, or if it fails in one of these ways the second. */
function* either(first: Steps<Transport>, ways: readonly string[], second: Steps<Transport>): Steps<Transport> {
  try {
    return yield* first
  } catch (error) {
    if (!(error instanceof LinuxError) || !ways.includes(error.code)) throw error
    return yield* second
  }
}
