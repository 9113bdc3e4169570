/** Section 4.1: PCI, its modern interface and the legacy one. */

import { run } from '../driver/steps.ts'
import { Feature } from '../virtio/core.ts'
import { Capability, NotifyCapability, PciCfgCapability } from '../virtio/pci.ts'
import { Header } from '../virtio/pci-config.ts'
import { MsixCapability } from '../virtio/pci-msix.ts'
import { type Case, isLegacy, legacyOnly, pciAny, pciLegacy, pciModern } from './case.ts'
import { writeFeatures } from './common.ts'
import { EchoConfig } from './echo.ts'
import { check, type Rig, same } from './rig.ts'

const { COMMON, NOTIFY, ISR, DEVICE, PCI, SHARED_MEMORY } = Capability.fields.cfg_type.bits
const NO_VECTOR = 0xffff
const VIRTIO = 9
const MSIX = 0x11

const pci = (rig: Rig) => rig.subject.pci!
const space = (rig: Rig, offset: number, size: number) => run(pci(rig).read(offset, size))
const setSpace = (rig: Rig, offset: number, size: number, value: number) => run(pci(rig).write(offset, size, value))

/** virtio capabilities of a type. */
function capabilities(rig: Rig, type?: number) {
  return run(pci(rig).capabilities(VIRTIO))
    .map(at => ({
      at,
      type: space(rig, at + Capability.offset.cfg_type, 1),
      length: space(rig, at + Capability.offset.cap_len, 1),
      bar: space(rig, at + Capability.offset.bar, 1),
      start: space(rig, at + Capability.offset.offset, 4),
      size: space(rig, at + Capability.offset.length, 4),
    }))
    .filter(capability => type === undefined || capability.type === type)
}
const MINIMUM: Readonly<Record<number, number>> = { [NOTIFY]: NotifyCapability.size, [PCI]: PciCfgCapability.size }

/** INTA#'s bit in the PCI status register. */
const pending = (rig: Rig) => (space(rig, Header.offset.status, 2) & Header.fields.status.bits.INTERRUPT) !== 0

/** Turns MSI-X on with this message in every vector; returns what was sent since, by address. */
function messages(rig: Rig) {
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

export const pciCases: readonly Case[] = [
  {
    id: 'R35',
    section: '4.1.2.1',
    title: 'vendor 0x1AF4, device 0x1040 + type with revision >= 1, or a transitional ID',
    subject: 'entropy',
    absent: pciModern,
    run(rig) {
      same(run(pci(rig).get('vendor')), 0x1af4, 'the vendor')
      if (rig.variant.transport === 'pci') {
        same(run(pci(rig).get('device')), 0x1044, 'the device')
        check(run(pci(rig).get('revision')) >= 1, 'the revision is 0')
        check(run(pci(rig).get('subsystem_device')) >= 0x40, 'the subsystem is below 0x40')
      } else {
        same(run(pci(rig).get('device')), 0x1005, 'the transitional device')
        same(run(pci(rig).get('revision')), 0, 'the revision')
        same(run(pci(rig).get('subsystem_device')), 4, 'the subsystem')
      }
    },
  },
  {
    id: 'R36',
    section: '4.1.3.2',
    title: 'the halves of a 64-bit configuration field can be read alone',
    subject: 'echo',
    absent: pciModern,
    run(rig) {
      same(rig.config(EchoConfig.offset.wide, 4), 5, 'the low half')
      same(rig.config(EchoConfig.offset.wide + 4, 4), 2, 'the high half')
    },
  },
  {
    id: 'R37',
    section: '4.1.4.2',
    title: 'cap_len covers all of a capability',
    subject: 'console',
    absent: pciModern,
    run(rig) {
      const all = capabilities(rig)
      check(all.length >= 5, `there are only ${all.length} virtio capabilities`)
      for (const { type, length } of all)
        check(length >= (MINIMUM[type] ?? Capability.size), `cap_len ${length} of type ${type}`)
    },
  },
  {
    id: 'R38',
    section: '4.1.4.3.1',
    title: 'there is a common configuration, and its offset is a multiple of 4',
    subject: 'entropy',
    absent: pciModern,
    run(rig) {
      const found = capabilities(rig, COMMON)
      check(found.length >= 1, 'there is none')
      for (const { start, size } of found) {
        same(start % 4, 0, 'its offset modulo 4')
        check(size >= 0x38, `it is ${size} bytes long`)
      }
    },
  },
  {
    id: 'R39',
    section: '4.1.4.3.1',
    title: 'device_feature shows bits 32*select and up, and 0 past 63',
    subject: 'entropy',
    absent: pciModern,
    run(rig) {
      const word = (select: number) => {
        run(rig.common.write('device_feature_select', select))
        return run(rig.common.read('device_feature'))
      }
      check((word(1) & 1) === 1, 'VERSION_1 is not in word 1')
      check((word(0) & (1 << 28)) !== 0, 'INDIRECT_DESC is not in word 0')
      for (const select of [2, 3, 0xffffffff]) same(word(select), 0, `word ${select}`)
    },
  },
  {
    id: 'R40',
    section: '4.1.4.3.1',
    title: 'driver_feature reads back',
    subject: 'entropy',
    absent: pciModern,
    run(rig) {
      rig.setStatus(1)
      rig.setStatus(3)
      const features = rig.offered() & ~(1n << 28n)
      writeFeatures(rig, features)
      for (const [select, expected] of [
        [0, Number(features & 0xffffffffn)],
        [1, Number(features >> 32n)],
      ] as const) {
        run(rig.common.write('driver_feature_select', select))
        same(run(rig.common.read('driver_feature_select')), select, 'driver_feature_select')
        same(run(rig.common.read('driver_feature')), expected, `driver_feature, word ${select}`)
      }
    },
  },
  {
    id: 'R41',
    section: '4.1.4.3.1',
    title: 'config_generation differs once the configuration a driver read has changed, hundreds of times over',
    subject: 'echo',
    absent: pciModern,
    run(rig) {
      rig.start()
      for (let i = 0; i < 600; i++) {
        const before = run(rig.common.read('config_generation'))
        rig.config(0, 4)
        rig.echo.values.wide += 1
        // Many changes, as many as an 8-bit counter has values.
        for (let change = 0; change < (i % 3 === 0 ? 256 : 1); change++) rig.echo.configChanged?.()
        check(run(rig.common.read('config_generation')) !== before, `it stayed ${before} over change ${i}`)
      }
    },
  },
  {
    id: 'R42',
    section: '4.1.4.3.1',
    title: 'writing 0 to device_status resets, and it reads 0 when that is done',
    subject: 'entropy',
    absent: pciModern,
    run(rig) {
      rig.start()
      run(rig.common.write('device_status', 0))
      for (let i = 0; i < 100 && run(rig.common.read('device_status')) !== 0; i++) rig.subject.settle()
      same(run(rig.common.read('device_status')), 0, 'device_status')
      run(rig.common.write('driver_feature_select', 0))
      same(run(rig.common.read('driver_feature')), 0, 'driver_feature')
    },
  },
  {
    id: 'R43',
    section: '4.1.4.3.1',
    title: 'queue_enable and queue_reset are 0 after a reset',
    subject: 'console',
    absent: pciModern,
    run(rig) {
      rig.start({ without: [1] }, [0, 1])
      run(rig.transport.reset())
      for (const index of [0, 1]) {
        run(rig.common.write('queue_select', index))
        same(run(rig.common.read('queue_enable')), 0, `queue_enable of queue ${index}`)
        if (rig.offers(Feature.RING_RESET)) same(run(rig.common.read('queue_reset')), 0, 'queue_reset')
      }
    },
  },
  {
    id: 'R44',
    section: '4.1.4.3.1',
    title: 'queue_size is 0 for a queue that is not there, and else a power of two',
    subject: 'entropy',
    absent: pciModern,
    run(rig) {
      run(rig.common.write('queue_select', 0))
      const size = run(rig.common.read('queue_size'))
      check(size > 0 && (size & (size - 1)) === 0, `queue_size is ${size}`)
      same(run(rig.common.read('num_queues')), 1, 'num_queues')
      for (const index of [1, 5, 0xffff]) {
        run(rig.common.write('queue_select', index))
        same(run(rig.common.read('queue_size')), 0, `queue_size of queue ${index}`)
      }
    },
  },
  {
    id: 'R45',
    section: '4.1.4.3.1',
    title: 'queue_reset: it and queue_enable read 0 when it is done',
    subject: 'entropy',
    absent: pciModern,
    run(rig) {
      rig.start()
      if (!rig.has(Feature.RING_RESET)) return 'RING_RESET is not offered'
      run(rig.common.write('queue_select', 0))
      same(run(rig.common.read('queue_enable')), 1, 'queue_enable')
      run(rig.common.write('queue_reset', 1))
      for (let i = 0; i < 100 && run(rig.common.read('queue_reset')) !== 0; i++) rig.subject.settle()
      same(run(rig.common.read('queue_reset')), 0, 'queue_reset')
      same(run(rig.common.read('queue_enable')), 0, 'queue_enable after it')
      rig.ring()
      rig.enable()
      same(rig.request(8), 8, 'written after it')
    },
  },
  {
    id: 'R46',
    section: '4.1.4.4.1',
    title: 'every queue has room in the notification structure',
    subject: 'console',
    absent: pciModern,
    run(rig) {
      const [notify] = capabilities(rig, NOTIFY)
      check(notify !== undefined, 'there is none')
      const multiplier = space(rig, notify.at + NotifyCapability.offset.notify_off_multiplier, 4)
      const even = multiplier === 0 || (multiplier >= 2 && (multiplier & (multiplier - 1)) === 0)
      check(even, `the multiplier is ${multiplier}`)
      const data = rig.offers(Feature.NOTIFICATION_DATA)
      if (data) same(multiplier % 4, 0, 'the multiplier modulo 4')
      same(notify.start % (data ? 4 : 2), 0, 'the offset modulo its unit')
      const queues = run(rig.common.read('num_queues'))
      for (let index = 0; index < queues; index++) {
        run(rig.common.write('queue_select', index))
        const end = run(rig.common.read('queue_notify_off')) * multiplier + (data ? 4 : 2)
        check(end <= notify.size, `queue ${index} is notified at ${end - 2}, past the end`)
      }
    },
  },
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
    id: 'R49',
    section: '4.1.4.6.1',
    title: 'the offset of the device configuration is a multiple of 4',
    subject: 'console',
    absent: pciModern,
    run(rig) {
      const found = capabilities(rig, DEVICE)
      check(found.length > 0, 'there is none')
      for (const { start, size } of found) {
        same(start % 4, 0, 'the offset modulo 4')
        check(size >= 12, `it is only ${size} bytes long`)
      }
    },
  },
  {
    id: 'R50',
    section: '4.1.4.7.1',
    title: 'shared memory regions lie inside their BARs and have an ID each',
    subject: 'entropy',
    absent: pciModern,
    run(rig) {
      const found = capabilities(rig, SHARED_MEMORY)
      const ids = found.map(({ at }) => space(rig, at + Capability.offset.id, 1))
      same(new Set(ids).size, ids.length, 'different IDs')
      for (const { bar, start, size } of found) {
        const region = run(pci(rig).bar(bar))
        check(region !== undefined && start + size <= region.length, 'a region is not inside its BAR')
      }
    },
  },
  {
    id: 'R51',
    section: '4.1.4.9.1',
    title: 'the PCI_CFG window performs the access it describes',
    subject: 'entropy',
    absent: pciModern,
    run(rig) {
      const [window] = capabilities(rig, PCI)
      const [structure] = capabilities(rig, COMMON)
      check(window !== undefined && structure !== undefined, 'there is none')
      const aim = (register: { at: number; size: number }) => {
        setSpace(rig, window.at + Capability.offset.bar, 1, structure.bar)
        setSpace(rig, window.at + Capability.offset.offset, 4, structure.start + register.at)
        setSpace(rig, window.at + Capability.offset.length, 4, register.size)
      }
      const data = window.at + Capability.size
      const { device_status, num_queues, device_feature_select, device_feature } = rig.common.table
      aim(num_queues)
      same(space(rig, data, 2), 1, 'num_queues')
      aim(device_status)
      setSpace(rig, data, 1, 1)
      same(rig.status(), 1, 'the status it wrote')
      same(space(rig, data, 1), 1, 'the status it reads')
      aim(device_feature_select)
      setSpace(rig, data, 4, 1)
      aim(device_feature)
      same(space(rig, data, 4) & 1, 1, 'VERSION_1 through the window')
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
void ISR
void isLegacy
