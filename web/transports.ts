import type { Transport } from '../worker/description.ts'

export const transportTexts: Record<Transport, { readonly name: string; readonly text: string }> = {
  mmio: {
    name: 'MMIO',
    text: 'A window of registers in memory that the kernel command line announces: what microVMs use, and the quickest here.',
  },
  'mmio-legacy': {
    name: 'MMIO, legacy',
    text: 'The same window as it was before virtio 1.0, with rings given by page number, for old mmio drivers.',
  },
  pci: {
    name: 'PCI',
    text: 'A PCI device with virtio 1 capabilities only: what any distribution’s kernel since 4.0 finds by itself.',
  },
  'pci-transitional': {
    name: 'PCI, transitional',
    text: 'Both PCI faces on one device, so that old and new drivers each find the one they know.',
  },
  'pci-legacy': {
    name: 'PCI, legacy',
    text: 'Only the I/O ports from before virtio 1.0, for kernels back to 2.6.25.',
  },
}
