/** Chapters 2 and 6: what no transport and no ring format changes. */

import { run } from '../driver/steps.ts'
import { Feature, Status } from '../virtio/core.ts'
import { type Case, modernOnly } from './case.ts'
import { check, INDIRECT, type Rig, same, WRITE } from './rig.ts'

/** Bits that a specification gives a meaning to, beside those of device types (§6). */
const DEFINED = new Set<number>([...Object.values(Feature), 41])
const isDeviceBit = (bit: number) => bit < 24 || (bit >= 50 && bit < 64)

export const common: readonly Case[] = [
  {
    id: 'R1',
    section: '2.1.2',
    title: 'nothing is consumed and nobody notified before DRIVER_OK',
    subject: 'entropy',
    absent: modernOnly,
    run(rig) {
      rig.negotiate()
      const ring = rig.ring()
      rig.enable()
      ring.add([], [rig.room(8)], 0)
      rig.kick()
      same(rig.used(), 0, 'used before DRIVER_OK')
      check(!rig.subject.level(), 'an interrupt before DRIVER_OK')
      rig.driverOk()
      rig.kick()
      same(rig.used(), 1, 'used after DRIVER_OK')
    },
  },
  {
    id: 'R1b',
    section: '2.1.2',
    title: 'nothing that a driver sends leaves the device before DRIVER_OK',
    subject: 'console',
    absent: modernOnly,
    run(rig) {
      rig.negotiate({ without: [1] })
      for (const index of [0, 1]) {
        rig.ring(index)
        rig.enable(index)
      }
      const before = rig.subject.output!().length
      rig.rings[1]!.add([rig.put(Uint8Array.of(10))], [], 0)
      rig.kick(1)
      same(rig.used(1), 0, 'used before DRIVER_OK')
      same(rig.subject.output!().length, before, 'bytes put out before DRIVER_OK')
      rig.driverOk()
      rig.kick(1)
      same(rig.used(1), 1, 'used after DRIVER_OK')
    },
  },
  {
    id: 'R2',
    section: '2.1.2',
    title: 'an error it cannot recover from sets NEEDS_RESET and interrupts',
    subject: 'entropy',
    absent: modernOnly,
    run(rig) {
      rig.start()
      rig.submit([{ addr: 0xfffffff0, len: 64, flags: WRITE | INDIRECT, next: 0 }])
      check((rig.status() & Status.NEEDS_RESET) !== 0, 'NEEDS_RESET is not set')
      check(rig.subject.level(), 'no interrupt')
      check((rig.causes() & 2) !== 0, 'no configuration interrupt')
      same(rig.status() & 15, 15, 'the other status bits')
    },
  },
  {
    id: 'R3',
    section: '2.2.2',
    title: 'FEATURES_OK stays 0 for a set it cannot accept',
    subject: 'entropy',
    absent: modernOnly,
    run(rig) {
      const attempt = (features: bigint) => {
        rig.reset()
        rig.setStatus(1)
        rig.setStatus(3)
        writeFeatures(rig, features)
        rig.setStatus(11)
        return rig.status()
      }
      const good = rig.offered()
      same(attempt(good | (1n << 60n)), 3, 'the status with an unoffered bit')
      same(attempt(good & ~(1n << 32n)), 3, 'the status without VERSION_1')
      same(attempt(0n), 3, 'the status without any')
      same(attempt(good & (1n << 32n)), 11, 'the status with VERSION_1 alone')
    },
  },
  {
    id: 'R4',
    section: '2.2.2',
    title: 'no bit is offered without the bits it needs',
    subject: 'echo',
    run(rig) {
      check(rig.offers(0) && rig.offers(1), 'both bits are offered')
      const masked = rig.inside.masked([0])
      check((masked & 1n) === 0n, 'a masked bit is offered')
      check((masked & 2n) === 0n, 'bit 1 is offered without bit 0, which it needs')
    },
  },
  {
    id: 'R5',
    section: '2.2.1',
    title: 'no bit is offered that has no meaning or would not be honoured',
    subject: 'entropy',
    run(rig) {
      const offered = rig.offered()
      for (let bit = 0; bit < 64; bit++)
        if (offered & (1n << BigInt(bit)))
          check(DEFINED.has(bit) || isDeviceBit(bit), `bit ${bit} is offered, and means nothing`)
      check(!rig.offers(30), 'bit 30 is offered')
      for (const bit of [0, 1, 5, 23]) check(!rig.offers(bit), `an entropy device offers bit ${bit}`)
    },
  },
  {
    id: 'R6',
    section: '2.2.2',
    title: 'a set once accepted is accepted again after a reset',
    subject: 'entropy',
    run(rig) {
      for (let i = 0; i < 3; i++) {
        rig.start({ without: i === 1 ? [Feature.INDIRECT_DESC] : [] })
        same(rig.request(8), 8, `written in round ${i}`)
        rig.reset()
      }
    },
  },
  {
    id: 'R7',
    section: '2.4.1',
    title: 'after a reset the status is 0, and no ring is touched and no interrupt sent until it starts anew',
    subject: 'entropy',
    run(rig) {
      rig.start()
      same(rig.request(8), 8, 'written before the reset')
      const [ring] = rig.rings
      rig.transport.legacy || rig.causes()
      run(rig.transport.reset())
      same(rig.status(), 0, 'the status')
      check(!rig.subject.level(), 'the interrupt line is up')
      rig.rings[0] = ring!
      const before = rig.used()
      ring!.add([], [rig.room(8)], 0)
      rig.kick()
      same(rig.used(), before, 'used requests after the reset')
      check(!rig.subject.level(), 'an interrupt after the reset')
      rig.usable('reset')
    },
  },
  {
    id: 'R8',
    section: '2.5.2',
    title: 'configuration is readable before FEATURES_OK',
    subject: 'console',
    run(rig) {
      rig.setStatus(1)
      rig.setStatus(3)
      const early = [0, 2, 4, 5].map(at => rig.config(at, at < 4 ? 2 : 1))
      check(early[2]! > 0, 'max_nr_ports reads 0')
      rig.reset()
      rig.start({}, [0, 1])
      same([0, 2, 4, 5].map(at => rig.config(at, at < 4 ? 2 : 1)).join(), early.join(), 'the configuration later')
    },
  },
  {
    id: 'R9',
    section: '2.6.1',
    title: 'a queue that was reset runs nothing, notifies nobody, and starts from the beginning',
    subject: 'echo',
    absent: modernOnly,
    run(rig) {
      const { echo } = rig
      rig.start()
      if (!rig.has(Feature.RING_RESET)) return 'RING_RESET is not offered'
      rig.request(4)
      rig.causes()
      echo.hold = true
      const ring = rig.rings[0]!
      ring.add([], [rig.room(4)], 1)
      rig.kick()
      const before = rig.bytes(ring.placement.device, 64)
      const descriptors = rig.bytes(ring.placement.desc, 64)
      run(rig.transport.resetQueue(0))
      for (const chain of echo.held) echo.answer(chain)
      ring.add([], [rig.room(4)], 2)
      const offered = rig.bytes(ring.placement.desc, 64)
      rig.kick()
      check(!rig.subject.level(), 'an interrupt from a queue that was reset')
      same(`${rig.bytes(ring.placement.device, 64)}`, `${before}`, 'the device area after the reset')
      check(`${descriptors}` !== '' && `${rig.bytes(ring.placement.desc, 64)}` === `${offered}`, 'descriptors written')
      echo.hold = false
      rig.ring(0, 8)
      rig.enable()
      same(rig.request(4), 0, 'the first request after it')
      same(rig.used(), 1, 'used.idx of the new rings')
    },
  },
  {
    id: 'R10',
    section: '2.6.1',
    title: 'a queue enabled again uses its new size and addresses',
    subject: 'entropy',
    absent: modernOnly,
    run(rig) {
      rig.start({}, [0], 16)
      if (!rig.has(Feature.RING_RESET)) return 'RING_RESET is not offered'
      same(rig.request(8), 8, 'written before')
      const old = rig.rings[0]!.placement
      run(rig.transport.resetQueue(0))
      rig.ring(0, 4)
      rig.enable()
      const untouched = `${rig.bytes(old.device, 16)}`
      for (let i = 0; i < 9; i++) same(rig.request(i + 1), i + 1, `written by request ${i} in a queue of 4`)
      same(`${rig.bytes(old.device, 16)}`, untouched, 'the old rings')
    },
  },
  {
    id: 'R21',
    section: '6.2',
    title: 'VERSION_1 is offered',
    subject: 'entropy',
    absent: modernOnly,
    run(rig) {
      check(rig.offers(Feature.VERSION_1), 'VERSION_1 is not offered')
    },
  },
  {
    id: 'R22',
    section: '6.2',
    title: 'with IN_ORDER requests are used in the order they came, however they are finished',
    subject: 'echo',
    absent: modernOnly,
    run(rig) {
      rig.takes = true
      rig.start()
      if (!rig.has(Feature.IN_ORDER)) return 'IN_ORDER is not offered'
      const { echo } = rig
      echo.hold = true
      const ring = rig.rings[0]!
      for (let i = 0; i < 4; i++) ring.add([], [rig.room(4 + i)], i)
      rig.kick()
      for (const i of [2, 1, 3]) echo.answer(echo.held[i]!)
      // What is finished waits, whatever comes after it.
      ring.add([], [rig.room(8)], 4)
      rig.kick()
      same(rig.used(), 0, 'used while the first is not finished')
      for (const i of [0, 4]) echo.answer(echo.held[i]!)
      const used = [0, 1, 2, 3, 4].map(() => ring.take())
      same(used.map(request => request?.token).join(), '0,1,2,3,4', 'the order of used requests')
    },
  },
  {
    id: 'R54',
    section: '2.2.3',
    title: 'a driver that does not take VERSION_1 gets the legacy rules',
    subject: 'entropy',
    absent: variant => (modernOnly(variant) ? undefined : 'the modern interface refuses such a driver (R3)'),
    run(rig) {
      rig.start()
      check(!rig.offers(Feature.VERSION_1), 'the legacy interface offers VERSION_1')
      same(rig.status() & 15, 7, 'the status without FEATURES_OK')
      same(rig.request(8), 8, 'written')
    },
  },
]

/** Past the driver's own check for VERSION_1. */
export function writeFeatures(rig: Rig, features: bigint) {
  const { subject } = rig
  const words = [Number(features & 0xffffffffn), Number(features >> 32n)]
  words.forEach((word, index) => {
    if (subject.window) {
      subject.window.write(0x24, 4, index)
      subject.window.write(0x20, 4, word)
    } else {
      run(rig.common.write('driver_feature_select', index))
      run(rig.common.write('driver_feature', word))
    }
  })
}
