import type { Window } from '../virtio/machine.ts'
import { LegacyPciRegisters } from '../virtio/pci-legacy.ts'
import { LinuxError } from './errno.ts'
import type { PciProbeOptions } from './pci.ts'
import type { PciDevice } from './pci-device.ts'
import { Registers, readAt, type Steps, writeAt } from './steps.ts'
import { chooseDma, type Placement, type Transport } from './transport.ts'

/** §4.1.5.1.3.1: the unit of queue_address and the alignment of the used ring, in bytes. */
const PAGE = 4096
/** What a 32-bit queue_address reaches, in bits. */
const RING_BITS = 32 + 12
/** Where the device's configuration begins while MSI-X is off. */
const CONFIG = 0x14

/** Linux's `virtio_pci_legacy_probe`. Fails with ENODEV (no such interface) or ENOMEM (BAR 0 is not there). */
export function* probeLegacyPci(
  pci: PciDevice,
  { dma = () => true, log = () => {} }: PciProbeOptions = {},
): Steps<LegacyPci> {
  const device = yield* pci.get('device')
  if (device < 0x1000 || device > 0x103f) throw new LinuxError('ENODEV', 'not a legacy or transitional function')
  const revision = yield* pci.get('revision')
  if (revision !== 0) throw new LinuxError('ENODEV', `expected ABI version 0, got ${revision}`)
  chooseDma(dma, log, RING_BITS)
  const bar = yield* pci.bar(0)
  if (!bar) throw new LinuxError('ENOMEM', 'there is no BAR 0 to map')
  const id = { device: yield* pci.get('subsystem_device'), vendor: yield* pci.get('subsystem_vendor') }
  return new LegacyPci(pci.map(bar), id)
}

/** §4.1.4.10: the legacy interface. */
export class LegacyPci implements Transport {
  readonly name = 'virtio-pci (legacy)'
  readonly legacy = true
  readonly fixedSize = true
  readonly align = PAGE
  readonly registers: Registers<typeof LegacyPciRegisters>

  constructor(
    readonly window: Window,
    readonly id: Transport['id'],
  ) {
    this.registers = new Registers(LegacyPciRegisters, 'legacy', window)
  }

  *status() {
    return yield* this.registers.read('device_status')
  }
  *setStatus(value: number) {
    yield* this.registers.write('device_status', value)
  }
  *reset() {
    yield* this.registers.write('device_status', 0)
    // Flush out the status write, and with it all before it.
    yield* this.registers.read('device_status')
  }
  *offered() {
    return BigInt((yield* this.registers.read('device_features')) >>> 0)
  }
  *accept(features: bigint) {
    yield* this.registers.write('driver_features', Number(features & 0xffffffffn))
  }
  *generation() {
    return 0
  }
  *readConfig(offset: number, size: number) {
    return yield* readAt(this.window, 'legacy', 'config', CONFIG + offset, size)
  }
  *writeConfig(offset: number, size: number, value: number) {
    yield* writeAt(this.window, 'legacy', 'config', CONFIG + offset, size, value)
  }
  *queueSize(index: number) {
    yield* this.registers.write('queue_select', index)
    const size = yield* this.registers.read('queue_size')
    if (size === 0 || (yield* this.registers.read('queue_address')) !== 0)
      throw new LinuxError('ENOENT', `there is no free queue ${index}`)
    return size
  }
  *enableQueue(index: number, { desc }: Placement) {
    if (desc / PAGE >= 2 ** 32)
      throw new LinuxError('E2BIG', 'platform bug: legacy virtio-pci must not be used with RAM above 0x4000GB')
    yield* this.registers.write('queue_select', index)
    yield* this.registers.write('queue_address', desc / PAGE)
  }
  *disableQueue(index: number) {
    yield* this.registers.write('queue_select', index)
    yield* this.registers.write('queue_address', 0)
  }
  *resetQueue(): Steps {
    throw new LinuxError('ENOENT', 'the legacy interface cannot reset a single queue')
  }
  *notify(index: number) {
    yield* this.registers.write('queue_notify', index)
  }
  *interrupt() {
    return yield* this.registers.read('isr_status')
  }
}
