import { expect, test } from 'vitest'
import { announce, pirq, place } from './placement.ts'

test('mmio devices get a page and an interrupt each, and are announced in order', () => {
  expect(announce(place(['mmio', 'mmio-legacy']))).toEqual([
    'virtio_mmio.device=512@0xd0000000:5',
    'virtio_mmio.device=512@0xd0001000:7',
  ])
})

test('PCI devices get slots, and interrupts as the PIIX3 routes INTA#', () => {
  const places = place(['pci', 'mmio', 'pci-transitional', 'pci-legacy', 'pci', 'pci'])
  expect(places.map(at => (at.bus === 'pci' ? [at.kind, at.slot, pirq(at.slot)] : at.bus))).toEqual([
    ['modern', 4, 5],
    'mmio',
    ['transitional', 5, 10],
    ['legacy', 6, 11],
    ['modern', 7, 9],
    ['modern', 8, 5],
  ])
})
