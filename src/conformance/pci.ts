/** Sections 4.1.2 to 4.1.4: a PCI function, and where its structures lie. */

import { run } from '../driver/steps.ts'
import { Feature } from '../virtio/core.ts'
import { Capability, NotifyCapability, PciCfgCapability } from '../virtio/pci.ts'
import { type Case, pciModern } from './case.ts'
import { writeFeatures } from './common.ts'
import { EchoConfig } from './echo.ts'
import { check, type Rig, same } from './rig.ts'

const { COMMON, NOTIFY, DEVICE, PCI, SHARED_MEMORY } = Capability.fields.cfg_type.bits
const VIRTIO = 9

export const pci = (rig: Rig) => rig.subject.pci!
export const space = (rig: Rig, offset: number, size: number) => run(pci(rig).read(offset, size))
export const setSpace = (rig: Rig, offset: number, size: number, value: number) =>
  run(pci(rig).write(offset, size, value))

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
    id: 'R44b',
    section: '4.1.4.3',
    title: 'after a reset queue_size is the largest size again',
    subject: 'entropy',
    absent: pciModern,
    run(rig) {
      const size = () => {
        run(rig.common.write('queue_select', 0))
        return run(rig.common.read('queue_size'))
      }
      const largest = size()
      rig.start({}, [0], largest / 2)
      same(size(), largest / 2, 'queue_size as the driver chose it')
      rig.reset()
      same(size(), largest, 'queue_size after a reset')
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
]
