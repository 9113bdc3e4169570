/** Section 4.2: the register files of both MMIO versions. */

import { run } from '../driver/steps.ts'
import { Feature } from '../virtio/core.ts'
import { LegacyRegisters, Registers } from '../virtio/mmio.ts'
import { type Case, isLegacy, mmioAny, mmioLegacy, mmioModern } from './case.ts'
import { check, type Rig, same } from './rig.ts'

const read = (rig: Rig, name: keyof typeof Registers | keyof typeof LegacyRegisters) =>
  rig.subject.window!.read({ ...Registers, ...LegacyRegisters }[name].at, 4)
const write = (rig: Rig, name: keyof typeof Registers | keyof typeof LegacyRegisters, value: number) => {
  rig.subject.window!.write({ ...Registers, ...LegacyRegisters }[name].at, 4, value)
  rig.subject.settle()
}
const ABSENT = 0xffffffff
const ALIGN = 256

export const mmio: readonly Case[] = [
  {
    id: 'R23',
    section: '4.2.2.1',
    title: 'MagicValue is "virt"',
    subject: 'entropy',
    absent: mmioAny,
    run(rig) {
      same(read(rig, 'MagicValue'), 0x74726976, 'MagicValue')
    },
  },
  {
    id: 'R24',
    section: '4.2.2.1',
    title: 'Version is 2, and 1 for the legacy interface',
    subject: 'entropy',
    absent: mmioAny,
    run(rig) {
      same(read(rig, 'Version'), isLegacy(rig.variant) ? 1 : 2, 'Version')
      same(read(rig, 'DeviceID'), 4, 'DeviceID')
    },
  },
  {
    id: 'R25',
    section: '4.2.2.1',
    title: 'a bit of InterruptStatus stays set from its event to its acknowledgement, and no other is ever set',
    subject: 'entropy',
    absent: mmioAny,
    run(rig) {
      rig.start()
      same(read(rig, 'InterruptStatus'), 0, 'InterruptStatus before any event')
      rig.request(4)
      for (let i = 0; i < 3; i++) same(read(rig, 'InterruptStatus'), 1, 'InterruptStatus after a used buffer')
      check(rig.subject.level(), 'the line is down')
      write(rig, 'InterruptACK', 2)
      same(read(rig, 'InterruptStatus'), 1, 'InterruptStatus after acknowledging the other bit')
      check(rig.subject.level(), 'the line went down without an acknowledgement')
      rig.request(4)
      write(rig, 'InterruptACK', 1)
      same(read(rig, 'InterruptStatus'), 0, 'InterruptStatus after the acknowledgement')
      check(!rig.subject.level(), 'the line is up after the acknowledgement')
    },
  },
  {
    id: 'R26',
    section: '4.2.2.1',
    title: 'a reset clears InterruptStatus and every QueueReady',
    subject: 'console',
    absent: mmioModern,
    run(rig) {
      rig.start({ without: [1] }, [0, 1])
      rig.rings[1]!.add([rig.put(Uint8Array.of(10))], [], 0)
      rig.kick(1)
      same(read(rig, 'InterruptStatus'), 1, 'InterruptStatus before the reset')
      run(rig.transport.reset())
      same(read(rig, 'InterruptStatus'), 0, 'InterruptStatus')
      for (const index of [0, 1]) {
        write(rig, 'QueueSel', index)
        same(read(rig, 'QueueReady'), 0, `QueueReady of queue ${index}`)
      }
      check(!rig.subject.level(), 'the line is up')
    },
  },
  {
    id: 'R27',
    section: '4.2.2.1',
    title: 'ConfigGeneration changes if a driver could have read half of a change',
    subject: 'echo',
    absent: mmioModern,
    run(rig) {
      rig.start()
      const { echo } = rig
      for (let i = 0; i < 600; i++) {
        const before = read(rig, 'ConfigGeneration')
        rig.config(0, 4)
        echo.values.wide += 2 ** 32 + 1
        echo.configChanged?.()
        check(read(rig, 'ConfigGeneration') !== before, `ConfigGeneration stayed ${before} over change ${i}`)
      }
      const still = read(rig, 'ConfigGeneration')
      rig.config(0, 4)
      same(read(rig, 'ConfigGeneration'), still, 'ConfigGeneration without a change')
    },
  },
  {
    id: 'R28',
    section: '4.2.2.1',
    title: 'the rings of a queue with QueueReady 0 are not touched',
    subject: 'entropy',
    absent: mmioModern,
    run(rig) {
      rig.start()
      same(rig.request(4), 4, 'written before')
      const ring = rig.rings[0]!
      write(rig, 'QueueSel', 0)
      write(rig, 'QueueReady', 0)
      same(read(rig, 'QueueReady'), 0, 'QueueReady')
      rig.causes()
      const { desc, device, size } = ring.placement
      ring.add([], [rig.room(4)], 0)
      const rings = () => `${rig.bytes(desc, size * 16)}|${rig.bytes(device, 4)}`
      const before = rings()
      rig.kick()
      check(rings() === before, 'the rings were touched')
      check(!rig.subject.level(), 'an interrupt')
    },
  },
  {
    id: 'R29',
    section: '4.2.2.1',
    title: 'QueueReset: when it reads 0 again QueueReady does too',
    subject: 'entropy',
    absent: mmioModern,
    run(rig) {
      rig.start()
      if (!rig.has(Feature.RING_RESET)) return 'RING_RESET is not offered'
      write(rig, 'QueueSel', 0)
      same(read(rig, 'QueueReady'), 1, 'QueueReady')
      write(rig, 'QueueReset', 1)
      for (let i = 0; i < 100 && read(rig, 'QueueReset') !== 0; i++) rig.subject.settle()
      same(read(rig, 'QueueReset'), 0, 'QueueReset')
      same(read(rig, 'QueueReady'), 0, 'QueueReady after it')
      check(read(rig, 'QueueSizeMax') > 0, 'the queue has gone')
    },
  },
  {
    id: 'R30',
    section: '4.2.2',
    title: 'a shared memory region that is not there has length -1 and base all ones',
    subject: 'entropy',
    absent: mmioModern,
    run(rig) {
      for (const id of [0, 7, 255]) {
        write(rig, 'SHMSel', id)
        for (const name of ['SHMLenLow', 'SHMLenHigh', 'SHMBaseLow', 'SHMBaseHigh'] as const)
          same(read(rig, name), ABSENT, name)
      }
    },
  },
  {
    id: 'R31',
    section: '4.2.2.1',
    title: 'a queue that is not there has QueueSizeMax 0, and there are no feature bits past 63',
    subject: 'entropy',
    absent: mmioAny,
    run(rig) {
      for (const index of [1, 2, 100, 0xffff, 0x10000, ABSENT]) {
        write(rig, 'QueueSel', index)
        same(read(rig, 'QueueSizeMax'), 0, `QueueSizeMax of queue ${index}`)
      }
      write(rig, 'QueueSel', 0)
      check(read(rig, 'QueueSizeMax') > 0, 'queue 0 has gone')
      for (const select of isLegacy(rig.variant) ? [1, 2, 3, ABSENT] : [2, 3, ABSENT]) {
        write(rig, 'DeviceFeaturesSel', select)
        same(read(rig, 'DeviceFeatures'), 0, `feature bits ${select} * 32 and up`)
      }
    },
  },
  {
    id: 'R32',
    section: '4.2.4',
    title: 'QueuePFN reads back, 0 stops the queue, and a reset zeroes them all',
    subject: 'console',
    absent: mmioLegacy,
    run(rig) {
      rig.start({ without: [1] }, [0, 1])
      const pages = [0, 1].map(index => {
        write(rig, 'QueueSel', index)
        return read(rig, 'QueuePFN')
      })
      for (const [index, page] of pages.entries())
        same(page, rig.rings[index]!.placement.desc / 4096, `QueuePFN of queue ${index}`)
      same(read(rig, 'QueueSizeMax'), 0, 'QueueSizeMax while QueuePFN is set')
      write(rig, 'QueueSel', 1)
      write(rig, 'QueuePFN', 0)
      same(read(rig, 'QueuePFN'), 0, 'QueuePFN')
      check(read(rig, 'QueueSizeMax') > 0, 'QueueSizeMax is 0 again')
      rig.rings[1]!.add([rig.put(Uint8Array.of(10))], [], 0)
      rig.kick(1)
      same(rig.used(1), 0, 'used in a stopped queue')
      run(rig.transport.reset())
      for (const index of [0, 1]) {
        write(rig, 'QueueSel', index)
        same(read(rig, 'QueuePFN'), 0, `QueuePFN of queue ${index} after a reset`)
      }
    },
  },
  {
    id: 'R33',
    section: '4.2.4',
    title: 'QueueAlign and GuestPageSize are honoured',
    subject: 'entropy',
    absent: mmioLegacy,
    run(rig) {
      for (const [page, align] of [
        [1024, ALIGN],
        [4096, 64],
        [16384, 4096],
      ] as const) {
        rig.reset()
        rig.negotiate()
        write(rig, 'GuestPageSize', page)
        const size = 8
        const at = rig.allocate(3 * 4096, page)
        const driver = at + 16 * size
        const placement = { size, desc: at, driver, device: Math.ceil((driver + 4 + 2 * size + 2) / align) * align }
        write(rig, 'QueueSel', 0)
        write(rig, 'QueueSize', size)
        write(rig, 'QueueAlign', align)
        write(rig, 'QueuePFN', at / page)
        same(read(rig, 'QueuePFN'), at / page, 'QueuePFN')
        rig.driverOk()
        rig.memory.view.setBigUint64(at, BigInt(rig.allocate(8)), true)
        rig.memory.setU32(at + 8, 8)
        rig.memory.setU16(at + 12, 2)
        rig.memory.setU16(driver + 2, 1)
        rig.kick()
        same(
          rig.memory.view.getUint16(placement.device + 2, true),
          1,
          `used.idx with pages of ${page}, aligned to ${align}`,
        )
      }
      write(rig, 'GuestPageSize', 4096)
    },
  },
  {
    id: 'R34',
    section: '2.7.2',
    title: 'the legacy layout, with features final at the first use rather than at FEATURES_OK',
    subject: 'entropy',
    absent: mmioLegacy,
    run(rig) {
      rig.negotiate()
      rig.setStatus(rig.status() | 8)
      rig.ring(0, 16)
      rig.enable()
      same(rig.request(8), 8, 'written before DRIVER_OK')
      rig.driverOk()
      same(rig.request(8), 8, 'written after DRIVER_OK')
    },
  },
]
