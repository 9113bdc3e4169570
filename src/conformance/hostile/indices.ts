/** Indices of the rings that jump, tear or race (§2.7.6, §2.7.7). */

import { SplitDriverRing } from '../../driver/split-queue.ts'
import { Feature, Status } from '../../virtio/core.ts'
import { type Case, splitOnly } from '../case.ts'
import { check, same } from '../rig.ts'
import { room } from './inputs.ts'

export const indices: readonly Case[] = [
  {
    id: 'H4',
    section: '2.7.6',
    title: 'avail.idx jumps ahead by more than the queue holds',
    subject: 'entropy',
    absent: splitOnly,
    run(rig) {
      for (const jump of [1, 1000, 32768]) {
        rig.reset()
        rig.start()
        const { driver, size } = rig.rings[0]!.placement
        rig.submit([room(rig)], { kick: false })
        rig.memory.setU16(driver + 2, (size + jump) & 0xffff)
        rig.kick()
        rig.refused(`avail.idx = size + ${jump}`)
      }
    },
  },
  {
    id: 'H5',
    section: '2.7.6',
    title: 'avail.idx goes backwards',
    subject: 'entropy',
    absent: splitOnly,
    run(rig) {
      rig.start()
      same(rig.request(4), 4, 'written')
      same(rig.request(4), 4, 'written')
      const { driver } = rig.rings[0]!.placement
      rig.causes()
      rig.memory.setU16(driver + 2, 1)
      rig.kick()
      same(rig.used(), 2, 'used requests')
      if (!rig.legacy) check((rig.status() & Status.NEEDS_RESET) !== 0, 'NEEDS_RESET is not set')
      rig.usable('avail.idx = 1 after 2')
    },
  },
  {
    id: 'H6',
    section: '2.7.13',
    title: 'the same head twice in flight',
    subject: 'entropy',
    absent: splitOnly,
    run(rig) {
      rig.start()
      rig.submit([room(rig)], { kick: false })
      const ring = rig.rings[0]!
      if (ring instanceof SplitDriverRing) ring.offer(0)
      rig.kick()
      check(rig.used() === 2 || (rig.status() & Status.NEEDS_RESET) !== 0, `used ${rig.used()} of 2`)
      rig.usable('the same head twice')
    },
  },
  {
    id: 'H47',
    section: '2.7.13',
    title: 'indices are stored in one piece, never byte by byte',
    subject: 'echo',
    run(rig) {
      rig.start()
      const ring = rig.rings[0]!
      const { device, desc } = ring.placement
      for (let i = 0; i < 5; i++) {
        ring.add([], [rig.room(4)], 0)
        const order = rig.inside.stores(() => rig.kick())
        ring.take()
        if (rig.variant.packed)
          check(!order.some(at => at > desc && at < desc + 256 && at % 4 !== 0), 'half a word of a descriptor')
        else check(!order.includes(device + 3), 'used.idx in two pieces')
      }
    },
  },
  {
    id: 'H48',
    section: '2.7.7',
    title: 'no interrupt is lost while suppression is switched, and none comes at DRIVER_OK',
    subject: 'echo',
    run(rig) {
      const { echo } = rig
      for (const without of [[], [Feature.EVENT_IDX]]) {
        rig.reset()
        rig.start({ without })
        check(!rig.subject.level(), 'an interrupt at DRIVER_OK')
        const ring = rig.rings[0]!
        echo.hold = true
        for (let i = 0; i < 40; i++) {
          ring.disableInterrupts()
          ring.add([], [rig.room(4)], 0)
          rig.kick()
          const early = i % 2 === 0
          if (early) echo.answer(echo.held.shift()!)
          check(!rig.subject.level(), 'an interrupt while it is suppressed')
          const nothing = ring.enableInterrupts()
          same(nothing, !early, 'what enabling says of used requests')
          if (!early) echo.answer(echo.held.shift()!)
          same(rig.subject.level(), !early, 'an interrupt for what came after')
          rig.causes()
          check(ring.take() !== undefined, 'the request did not come back')
        }
        echo.hold = false
      }
    },
  },
]
