/** What the legacy interfaces owe their drivers: sections 3.1.1, 4.1.4.10 and 6.3. */

import { run } from '../driver/steps.ts'
import { Feature } from '../virtio/core.ts'
import { type Case, legacyOnly, pciLegacy } from './case.ts'
import { EchoConfig } from './echo.ts'
import { pci } from './pci.ts'
import { messages, NO_VECTOR } from './pci-interrupts.ts'
import { check, same } from './rig.ts'

export const legacy: readonly Case[] = [
  {
    id: 'R55',
    section: '3.1.1',
    title: 'a legacy driver may write the configuration before features, and use queues before DRIVER_OK',
    subject: 'echo',
    absent: legacyOnly,
    run(rig) {
      run(rig.transport.writeConfig(EchoConfig.offset.open, 4, 0x12345678))
      same(rig.config(EchoConfig.offset.open, 4), 0x12345678, 'the configuration')
      rig.negotiate()
      rig.ring()
      rig.enable()
      const room = rig.room(3)
      rig.rings[0]!.add([rig.put(Uint8Array.of(1, 2, 3))], [room], 0)
      rig.kick()
      same(rig.rings[0]!.take()?.length, 3, 'written before DRIVER_OK')
      same(`${rig.bytes(room.address, 3)}`, '1,2,3', 'the answer')
    },
  },
  {
    id: 'R56',
    section: '4.1.2.3',
    title: 'revision 0, the type in the subsystem ID, and BAR 0 in I/O space',
    subject: 'entropy',
    absent: pciLegacy,
    run(rig) {
      same(run(pci(rig).get('revision')), 0, 'the revision')
      same(run(pci(rig).get('subsystem_device')), 4, 'the subsystem')
      const bar = run(pci(rig).bar(0))
      check(bar?.ports === true, 'BAR 0 is not in I/O space')
    },
  },
  {
    id: 'R57',
    section: '4.1.4.10',
    title: 'configuration accesses of any width give the natural result',
    subject: 'echo',
    absent: legacyOnly,
    run(rig) {
      const { word, half, byte } = EchoConfig.offset
      same(rig.config(word, 4), 0x11223344, '4 bytes')
      same(rig.config(word, 2), 0x3344, 'the low 2')
      same(rig.config(word + 2, 2), 0x1122, 'the high 2')
      same([0, 1, 2, 3].map(i => rig.config(word + i, 1)).join(), '68,51,34,17', '4 times 1 byte')
      same(rig.config(half, 2), 0x5566, 'a 16-bit field')
      same(rig.config(byte, 1), 0x77, 'an 8-bit field')
      same(rig.config(half, 4) & 0xffffff, 0x775566, 'two fields at once')
    },
  },
  {
    id: 'R58',
    section: '4.1.4.10',
    title: 'MSI-X moves the device configuration up by four bytes while it is on',
    subject: 'console',
    options: { messages: true },
    absent: pciLegacy,
    run(rig) {
      const window = pci(rig).map(run(pci(rig).bar(0))!)
      const ports = window.read(0x14 + 4, 4)
      check(ports > 0, 'max_nr_ports reads 0')
      const msix = messages(rig)
      if (!msix) return 'it has no MSI-X'
      same(window.read(0x18 + 4, 4), ports, 'max_nr_ports with MSI-X on')
      window.write(0x14, 2, 0)
      same(window.read(0x14, 2), 0, 'config_msix_vector')
      window.write(0x14, 2, NO_VECTOR)
      same(window.read(0x14, 2), NO_VECTOR, 'config_msix_vector, unmapped')
      msix.off()
      same(window.read(0x14 + 4, 4), ports, 'max_nr_ports with MSI-X off again')
    },
  },
  {
    id: 'R59',
    section: '4.1.4.10',
    title: 'bits past 31 count as not accepted',
    subject: 'echo',
    absent: legacyOnly,
    run(rig) {
      check(rig.offered() < 1n << 32n, 'bits past 31 are offered')
      rig.start()
      const { core } = rig.inside
      for (let bit = 32; bit < 64; bit++) check(!core.accepted(bit), `bit ${bit} counts as accepted`)
    },
  },
  {
    id: 'R60',
    section: '6.3',
    title: 'ANY_LAYOUT is offered; with NOTIFY_ON_EMPTY it interrupts when the ring runs empty, suppressed or not',
    subject: 'entropy',
    absent: legacyOnly,
    run(rig) {
      check(rig.offers(Feature.ANY_LAYOUT), 'ANY_LAYOUT is not offered')
      if (!rig.offers(Feature.NOTIFY_ON_EMPTY)) return 'NOTIFY_ON_EMPTY is not offered'
      for (const without of [[], [Feature.EVENT_IDX]]) {
        rig.reset()
        rig.takes = true
        rig.start({ without })
        rig.rings[0]!.disableInterrupts()
        rig.causes()
        rig.request(4)
        same(rig.causes() & 1, 1, 'the interrupt of an empty ring')
        rig.reset()
        rig.takes = false
        rig.start({ without })
        // The first used buffer may interrupt in any case: nobody knows yet what was signalled before.
        rig.request(4)
        rig.rings[0]!.disableInterrupts()
        rig.causes()
        rig.request(4)
        same(rig.causes() & 1, 0, 'the interrupt of an empty ring, not negotiated')
      }
    },
  },
]
