/** Indirect tables that are none, and memory that changes while it is read (§2.7.5.3, §2.8.7). */

import { Feature } from '../../virtio/core.ts'
import { MAX_INDIRECT } from '../../virtio/ring.ts'
import type { Case } from '../case.ts'
import { INDIRECT, NEXT, type Rig, same, WRITE } from '../rig.ts'
import { refuses, room } from './inputs.ts'

export const indirect: readonly Case[] = [
  {
    id: 'H15',
    section: '2.7.5.3.1',
    title: 'INDIRECT, though it was not negotiated',
    subject: 'entropy',
    run(rig) {
      refuses(
        rig,
        {
          'an indirect descriptor': rig => {
            const table = rig.table([room(rig)])
            return [{ addr: table.address, len: table.length, flags: INDIRECT }]
          },
        },
        [Feature.INDIRECT_DESC],
      )
    },
  },
  {
    id: 'H16',
    section: '2.7.5.3',
    title: 'an indirect table of no or half a descriptor, or of too many',
    subject: 'entropy',
    run(rig) {
      const sized = (len: number) => (rig: Rig) => {
        const table = rig.table([room(rig), room(rig), room(rig)])
        return [{ addr: table.address, len, flags: INDIRECT }]
      }
      refuses(rig, {
        'an indirect table of 0 bytes': sized(0),
        'an indirect table of 15 bytes': sized(15),
        'an indirect table of 47 bytes': sized(47),
      })
    },
  },
  {
    id: 'H16b',
    section: '2.7.5.3.1',
    title: 'an indirect table of more descriptors than any driver needs is refused, the largest one served',
    subject: 'echo',
    run(rig) {
      const of = (count: number) => {
        rig.reset()
        rig.start()
        const table = rig.table(Array.from({ length: count }, () => ({ addr: 0x100000, len: 1 })))
        rig.submit([{ addr: table.address, len: table.length, flags: INDIRECT }])
      }
      of(MAX_INDIRECT)
      same(rig.used(), 1, 'used')
      of(MAX_INDIRECT + 1)
      rig.refused('one descriptor more')
      of(16384)
      rig.refused('16,384 descriptors')
    },
  },
  {
    id: 'H17',
    section: '2.7.5.3.1',
    title: 'a table inside a table, and INDIRECT with NEXT',
    subject: 'entropy',
    run(rig) {
      refuses(rig, {
        'indirect with next': rig => {
          const table = rig.table([room(rig)])
          return [{ addr: table.address, len: table.length, flags: INDIRECT | NEXT }, room(rig)]
        },
      })
      if (rig.variant.packed) return
      refuses(rig, {
        'an indirect table in an indirect table': rig => {
          const inner = rig.table([room(rig)])
          const outer = rig.table([{ addr: inner.address, len: inner.length, flags: INDIRECT }])
          return [{ addr: outer.address, len: outer.length, flags: INDIRECT }]
        },
      })
    },
  },
  {
    id: 'H19',
    section: '2.7.5.3',
    title: 'descriptors and indirect tables that change after the device took them',
    subject: 'echo',
    run(rig) {
      rig.start()
      const { echo } = rig
      echo.hold = true
      const secret = rig.put(Uint8Array.of(9, 9, 9, 9))
      const victim = rig.put(Uint8Array.of(1, 2, 3, 4))
      const table = rig.table([{ addr: rig.put(Uint8Array.of(5, 6, 7, 8)).address, len: 4 }, { ...room(rig, 4) }])
      rig.submit([{ addr: table.address, len: table.length, flags: INDIRECT }])
      rig.describe(table.address, 0, { addr: secret.address, len: 4, flags: NEXT }, 1)
      rig.describe(table.address, 1, { addr: victim.address, len: 4, flags: WRITE })
      for (const chain of echo.held) echo.answer(chain)
      same(`${echo.seen}`, '5,6,7,8', 'what the device read')
      same(`${rig.bytes(victim.address, 4)}`, '1,2,3,4', 'the buffer it was pointed to later')
    },
  },
]
