/** Sections 4.1.4.5 and 4.1.5: how a PCI function interrupts. */

import { run } from '../driver/steps.ts'
import { Header } from '../virtio/pci-config.ts'
import { MsixCapability } from '../virtio/pci-msix.ts'
import { type Case, pciAny, pciModern } from './case.ts'
import { pci, setSpace, space } from './pci.ts'
import { check, type Rig, same } from './rig.ts'

export const NO_VECTOR = 0xffff
const MSIX = 0x11

/** INTA#'s bit in the PCI status register. */
const pending = (rig: Rig) => (space(rig, Header.offset.status, 2) & Header.fields.status.bits.INTERRUPT) !== 0

/** Turns MSI-X on with this message in every vector; returns what was sent since, by address. */
export function messages(rig: Rig) {
  const [at] = run(pci(rig).capabilities(MSIX))
  if (at === undefined) return undefined
  const control = space(rig, at + MsixCapability.offset.control, 2)
  const table = space(rig, at + MsixCapability.offset.table, 4)
  const bar = run(pci(rig).bar(table & 7))!
  const window = pci(rig).map(bar)
  const count = (control & 0x7ff) + 1
  const box = rig.allocate(4 * count)
  for (let i = 0; i < count; i++) {
    const entry = (table & ~7) + 16 * i
    window.write(entry, 4, box + 4 * i)
    window.write(entry + 4, 4, 0)
    window.write(entry + 8, 4, 0x1000 + i)
    window.write(entry + 12, 4, 0)
  }
  setSpace(rig, at + MsixCapability.offset.control, 2, (control & 0x7ff) | 0x8000)
  const sent = (vector: number) => {
    const value = rig.memory.view.getUint32(box + 4 * vector, true)
    rig.memory.setU32(box + 4 * vector, 0)
    return value === 0x1000 + vector
  }
  return { count, window, table: table & ~7, sent, off: () => setSpace(rig, at + 2, 2, control & 0x7ff) }
}

export const pciInterrupts: readonly Case[] = [
  {
    id: 'R47',
    section: '4.1.4.5.1',
    title: 'the ISR bit is set before the interrupt, and the PCI status shows it',
    subject: 'entropy',
    absent: pciAny,
    run(rig) {
      rig.start()
      check(!pending(rig), 'an interrupt is pending at the start')
      rig.request(4)
      check(rig.subject.level(), 'INTA# is down')
      check(pending(rig), 'the PCI status shows no interrupt')
      same(rig.causes(), 1, 'the ISR status')
      check(!pending(rig), 'the PCI status still shows an interrupt')
    },
  },
  {
    id: 'R48',
    section: '4.1.4.5.1',
    title: 'reading the ISR status clears it and takes INTA# down',
    subject: 'entropy',
    absent: pciAny,
    run(rig) {
      rig.start()
      rig.request(4)
      same(rig.causes(), 1, 'the ISR status')
      check(!rig.subject.level(), 'INTA# is still up')
      same(rig.causes(), 0, 'the ISR status, read again')
    },
  },
  {
    id: 'R52',
    section: '4.1.5.1.2.1',
    title: 'any event goes to any vector; what is no vector reads NO_VECTOR; a reset unmaps all',
    subject: 'entropy',
    options: { messages: true },
    absent: pciModern,
    run(rig) {
      const msix = messages(rig)
      if (!msix) return 'it has no MSI-X'
      const { common } = rig
      const setQueue = (vector: number) => {
        run(common.write('queue_select', 0))
        run(common.write('queue_msix_vector', vector))
        return run(common.read('queue_msix_vector'))
      }
      const setConfig = (vector: number) => {
        run(common.write('config_msix_vector', vector))
        return run(common.read('config_msix_vector'))
      }
      same(run(common.read('config_msix_vector')), NO_VECTOR, 'config_msix_vector at the start')
      for (let vector = 0; vector < msix.count; vector++) {
        same(setQueue(vector), vector, 'queue_msix_vector')
        same(setConfig(vector), vector, 'config_msix_vector')
      }
      for (const wrong of [msix.count, 0x7777]) {
        same(setQueue(wrong), NO_VECTOR, `queue_msix_vector after ${wrong}`)
        same(setConfig(wrong), NO_VECTOR, `config_msix_vector after ${wrong}`)
      }
      rig.negotiate()
      rig.ring()
      for (let vector = 0; vector < msix.count; vector++) setQueue(vector)
      rig.enable()
      rig.driverOk()
      rig.request(4)
      check(msix.sent(msix.count - 1), 'no message for a used buffer')
      check(!rig.subject.level(), 'INTA# is up though MSI-X is on')
      setQueue(0)
      rig.request(4)
      check(msix.sent(0) && !msix.sent(msix.count - 1), 'the message did not follow the mapping')
      rig.reset()
      same(run(common.read('config_msix_vector')), NO_VECTOR, 'config_msix_vector after a reset')
      run(common.write('queue_select', 0))
      same(run(common.read('queue_msix_vector')), NO_VECTOR, 'queue_msix_vector after a reset')
      msix.off()
    },
  },
  {
    id: 'R53',
    section: '4.1.5.3',
    title: 'without a vector there is no interrupt, neither for a queue nor for the configuration',
    subject: 'entropy',
    options: { messages: true },
    absent: pciModern,
    run(rig) {
      const msix = messages(rig)
      if (!msix) return 'it has no MSI-X'
      rig.start()
      run(rig.common.write('queue_select', 0))
      run(rig.common.write('queue_msix_vector', NO_VECTOR))
      run(rig.common.write('config_msix_vector', NO_VECTOR))
      same(rig.request(4), 4, 'written')
      // A mistake, so that the configuration interrupt is due.
      rig.submit([{ addr: 0xfffffff0, len: 64, flags: 6, next: 0 }])
      for (let vector = 0; vector < msix.count; vector++) check(!msix.sent(vector), `a message on vector ${vector}`)
      check(!rig.subject.level(), 'INTA# is up')
      msix.off()
    },
  },
]
