/** Resets, features and status in the wrong order or at the wrong time (§2.1, §2.2, §2.4). */

import { run } from '../../driver/steps.ts'
import { Feature, Status } from '../../virtio/core.ts'
import { type Case, modernOnly, pciAny } from '../case.ts'
import { writeFeatures } from '../common.ts'
import { check, type Rig, same } from '../rig.ts'

/** A started echo device that has one request and keeps it; `room` is where its answer would go. */
function inFlight(rig: Rig) {
  const { echo } = rig
  rig.start()
  echo.hold = true
  const room = rig.room(4)
  rig.rings[0]!.add([rig.put(Uint8Array.of(1, 2, 3, 4))], [room], 0)
  rig.kick()
  return { echo, room }
}

export const lifecycle: readonly Case[] = [
  {
    id: 'H25',
    section: '2.4.1',
    title: 'a reset with requests in flight: what finishes later writes nothing and interrupts nobody',
    subject: 'echo',
    run(rig) {
      const { echo, room } = inFlight(rig)
      const { desc, device } = rig.rings[0]!.placement
      const look = () => `${rig.bytes(device, 64)}|${rig.bytes(desc, 64)}`
      const before = look()
      rig.reset()
      for (const chain of echo.held.splice(0)) {
        // Even one that still writes: memory may by now be somebody else's.
        chain.writer.bytes(chain.reader.bytes())
        chain.complete()
      }
      same(look(), before, 'the rings')
      same(`${rig.bytes(room.address, 4)}`, '0,0,0,0', 'the buffer')
      check(!rig.subject.level(), 'an interrupt')
      echo.hold = false
      rig.usable('a reset with requests in flight')
    },
  },
  {
    id: 'H26',
    section: '2.4.1',
    title: 'a storm of resets, and one from inside a notification',
    subject: 'echo',
    run(rig) {
      const { echo } = rig
      for (let i = 0; i < 50; i++) {
        rig.start()
        if (i % 3 > 0) rig.request(4)
        rig.reset()
        if (i % 5 === 0) rig.reset()
      }
      rig.start()
      const { core } = rig.inside
      const answer = echo.answer.bind(echo)
      echo.answer = chain => {
        core.reset()
        answer(chain)
      }
      rig.rings[0]!.add([], [rig.room(4)], 0)
      rig.rings[0]!.add([], [rig.room(4)], 0)
      rig.kick()
      same(rig.used(), 0, 'used')
      echo.answer = answer
      rig.usable('a reset inside a notification')
    },
  },
  {
    id: 'H27',
    section: '2.2.1',
    title: 'a feature without the one it needs',
    subject: 'echo',
    absent: modernOnly,
    run(rig) {
      for (const [features, expected] of [
        [(1n << 32n) | 2n, 3],
        [(1n << 32n) | 3n, 11],
        [(1n << 32n) | 1n, 11],
      ] as const) {
        rig.reset()
        rig.setStatus(1)
        rig.setStatus(3)
        writeFeatures(rig, features)
        rig.setStatus(11)
        same(rig.status(), expected, `the status with features ${features & 3n}`)
      }
    },
  },
  {
    id: 'H28',
    section: '2.2.1',
    title: 'features written after FEATURES_OK',
    subject: 'echo',
    absent: modernOnly,
    run(rig) {
      rig.negotiate()
      const { core } = rig.inside
      writeFeatures(rig, 0n)
      check(core.accepted(Feature.VERSION_1), 'VERSION_1 could be taken back')
      rig.ring()
      rig.enable()
      rig.driverOk()
      writeFeatures(rig, (1n << 64n) - 1n)
      check(!core.accepted(Feature.IN_ORDER), 'IN_ORDER could be added')
      same(rig.request(4), 0, 'written')
    },
  },
  {
    id: 'H29',
    section: '2.2',
    title: 'a smaller set of features after a reset is what counts then',
    subject: 'entropy',
    run(rig) {
      rig.start()
      same(rig.request(4), 4, 'written with everything')
      rig.reset()
      const without = [Feature.INDIRECT_DESC, Feature.EVENT_IDX]
      rig.start({ without })
      same(rig.request(4), 4, 'written with less')
      if (!rig.variant.packed) {
        // EVENT_IDX has gone: used_event must not suppress.
        rig.memory.setU16(rig.rings[0]!.placement.driver + 4 + 2 * rig.rings[0]!.placement.size, 0x4000)
        rig.causes()
        rig.request(4)
        same(rig.causes() & 1, 1, 'the interrupt')
      }
    },
  },
  {
    id: 'H30',
    section: '2.1.1',
    title: 'status bits cleared, steps left out, bits that do not exist, FAILED',
    subject: 'entropy',
    run(rig) {
      rig.start()
      const running = rig.status()
      for (const value of [running & ~4, running & ~1, 1, 3]) {
        rig.setStatus(value)
        same(rig.status(), running, `the status after ${value}`)
      }
      same(rig.request(4), 4, 'written after that')
      rig.setStatus(running | 0x30)
      same(rig.status(), running, 'the status after bits that do not exist')
      rig.setStatus(running | Status.FAILED)
      check((rig.status() & Status.FAILED) !== 0, 'FAILED does not stay')
      rig.usable('FAILED')
      if (rig.legacy) return
      rig.reset()
      rig.setStatus(Status.DRIVER_OK)
      same(rig.status() & Status.DRIVER_OK, 0, 'DRIVER_OK without all before it')
      rig.usable('steps left out')
    },
  },
  {
    id: 'H46',
    section: 'none',
    title: 'a snapshot that was made to break the device that loads it',
    subject: 'entropy',
    absent: () => 'there are no snapshots to load yet',
    run() {},
  },
  {
    id: 'H49',
    section: '4.1',
    title: 'a function pulled out with requests in flight',
    subject: 'echo',
    absent: pciAny,
    run(rig) {
      const { echo, room } = inFlight(rig)
      rig.inside.unplug()
      for (const chain of echo.held) echo.answer(chain)
      same(rig.used(), 0, 'used')
      same(`${rig.bytes(room.address, 4)}`, '0,0,0,0', 'the buffer')
      check(!rig.subject.level(), 'an interrupt')
      same(run(rig.subject.pci!.get('vendor')), 0xffff, 'the vendor of the empty slot')
    },
  },
]
