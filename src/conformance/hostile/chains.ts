/** Chains of descriptors that are not what a driver may make (§2.7.5, §2.8.5). */

import { MAX_INDIRECT } from '../../virtio/ring.ts'
import { type Case, packedOnly, splitOnly } from '../case.ts'
import { INDIRECT, type RawDescriptor, same, WRITE } from '../rig.ts'
import { refuses, room, survives } from './inputs.ts'

export const chains: readonly Case[] = [
  {
    id: 'H1',
    section: '2.7.5',
    title: 'a descriptor chain that loops',
    subject: 'entropy',
    run(rig) {
      const split = !rig.variant.packed
      if (split)
        refuses(rig, {
          'a descriptor that is its own next': rig => [{ ...room(rig), next: 0 }],
          'two descriptors in a circle': rig => [room(rig), { ...room(rig), next: 0 }],
          'a circle far from the head': rig => [room(rig), room(rig), room(rig), { ...room(rig), next: 2 }],
          'a loop in an indirect table': rig => {
            const table = rig.table([room(rig), { ...room(rig), next: 0 }])
            return [{ addr: table.address, len: table.length, flags: INDIRECT }]
          },
        })
      rig.reset()
      rig.start()
      rig.submit([{ addr: rig.rings[0]!.placement.desc, len: 16, flags: INDIRECT }])
      // Packed (§2.8.7): the flags inside a table mean nothing, so this is a buffer like another.
      survives(rig, 'an indirect table that is the ring itself', 0)
    },
  },
  {
    id: 'H2',
    section: '2.8.6',
    title: 'a packed chain without an end',
    subject: 'entropy',
    absent: packedOnly,
    run(rig) {
      rig.start({}, [0], 8)
      const { size } = rig.rings[0]!.placement
      rig.submit(Array.from({ length: size }, (_, i) => (i + 1 < size ? room(rig) : { ...room(rig), next: 0 })))
      rig.refused('a chain as long as the ring, going on')
      rig.reset()
      rig.start({}, [0], 8)
      rig.submit([room(rig), { ...room(rig), next: 0 }])
      rig.refused('a chain that goes on into a slot that is not available')
    },
  },
  {
    id: 'H3',
    section: '2.7.5',
    title: 'a head or a next past the end of the table',
    subject: 'entropy',
    absent: splitOnly,
    run(rig) {
      const size = () => rig.rings[0]!.placement.size
      refuses(rig, {
        'next = size': rig => [{ ...room(rig), next: size() }],
        'next = 65535': rig => [{ ...room(rig), next: 0xffff }],
        'an indirect next past its table': rig => {
          const table = rig.table([room(rig), { ...room(rig), next: 2 }])
          return [{ addr: table.address, len: table.length, flags: INDIRECT }]
        },
      })
      for (const head of [() => size(), () => 0xffff]) {
        rig.reset()
        rig.start()
        rig.submit([room(rig)], { head: head() })
        rig.refused(`head ${head()}`)
      }
    },
  },
  {
    id: 'H7',
    section: '2.7.5',
    title: 'a descriptor of length 0',
    subject: 'entropy',
    run(rig) {
      rig.start()
      rig.submit([room(rig), { addr: rig.allocate(8), len: 0, flags: WRITE }, room(rig)])
      survives(rig, 'length 0 in the middle', 16)
    },
  },
  {
    id: 'H8',
    section: '2.7.5',
    title: 'a chain of length 0',
    subject: 'entropy',
    run(rig) {
      for (const addr of [0, rig.allocate(8), 0xffff_ffff_ffff_ffffn]) {
        rig.reset()
        rig.start()
        rig.submit([{ addr, len: 0, flags: WRITE }])
        survives(rig, `an empty chain at ${addr}`, 0)
      }
    },
  },
  {
    id: 'H9',
    section: '2.7.5',
    title: 'a length of 2^32 - 1',
    subject: 'echo',
    run(rig) {
      refuses(rig, {
        'a huge writable buffer': rig => [{ addr: rig.allocate(8), len: 0xffffffff, flags: WRITE }],
        'a huge readable buffer': rig => [{ addr: rig.allocate(8), len: 0xffffffff }],
        'a huge buffer at 0': () => [{ addr: 0, len: 0xffffffff, flags: WRITE }],
      })
    },
  },
  {
    id: 'H10',
    section: '2.7.5',
    title: 'an address that wraps around 2^64, or is past what a double holds exactly',
    subject: 'echo',
    run(rig) {
      const inputs: Record<string, () => RawDescriptor[]> = {}
      for (const addr of [0xffff_ffff_ffff_fff8n, 0xffff_ffff_0000_1000n, 1n << 53n, (1n << 53n) + 1n, 1n << 63n])
        for (const flags of [0, WRITE])
          inputs[`0x${addr.toString(16)}, flags ${flags}`] = () => [{ addr, len: 16, flags }]
      refuses(rig, inputs)
    },
  },
  {
    id: 'H11',
    section: '2.7.5',
    title: 'a buffer that is not RAM, or lies over the rings',
    subject: 'echo',
    run(rig) {
      const end = rig.memory.size
      const placement = () => rig.rings[0]!.placement
      refuses(rig, {
        'one byte past the end of RAM': () => [{ addr: end - 7, len: 8, flags: WRITE }],
        'just past the end of RAM': () => [{ addr: end, len: 1, flags: WRITE }],
        'a device window': () => [{ addr: 0xd0000000, len: 4, flags: WRITE }],
        'the descriptor table': () => [{ addr: placement().desc + 16, len: 16, flags: WRITE }],
        'over the descriptor table': () => [{ addr: placement().desc - 16, len: 64, flags: WRITE }],
        'the driver area': () => [{ addr: placement().driver, len: 4, flags: WRITE }],
        'the device area': () => [{ addr: placement().device + 3, len: 4, flags: WRITE }],
        'an indirect table past the end of RAM': () => [{ addr: end - 16, len: 32, flags: INDIRECT }],
        'an indirect table at 2^63': () => [{ addr: 1n << 63n, len: 32, flags: INDIRECT }],
      })
      rig.reset()
      rig.start()
      rig.submit([{ addr: end - 8, len: 8, flags: WRITE }])
      same(rig.used(), 1, 'used: the very last bytes of RAM')
    },
  },
  {
    id: 'H12',
    section: '2.7.5',
    title: 'lengths that add up to more than 2^32',
    subject: 'echo',
    run(rig) {
      refuses(rig, {
        'an indirect table over all of RAM, again and again': rig => {
          const len = rig.memory.size
          const table = rig.table(Array.from({ length: MAX_INDIRECT }, () => ({ addr: 0, len })))
          return [
            { addr: 0, len },
            { addr: table.address, len: table.length, flags: INDIRECT },
          ]
        },
      })
    },
  },
  {
    id: 'H13',
    section: '2.7.4.2',
    title: 'a writable descriptor before a readable one',
    subject: 'entropy',
    run(rig) {
      refuses(rig, {
        'writable, then readable': rig => [room(rig), { addr: rig.allocate(8), len: 8 }],
        'the same in an indirect table': rig => {
          const table = rig.table([room(rig), { addr: rig.allocate(8), len: 8 }])
          return [{ addr: table.address, len: table.length, flags: INDIRECT }]
        },
      })
    },
  },
  {
    id: 'H14',
    section: '2.7.4',
    title: 'readable where the device writes, writable where it reads',
    subject: 'entropy',
    run(rig) {
      rig.start()
      const address = rig.put(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)).address
      rig.submit([{ addr: address, len: 8 }])
      same(`${rig.bytes(address, 8)}`, '1,2,3,4,5,6,7,8', 'a readable buffer')
      survives(rig, 'a request for randomness without room', 0)
    },
  },
]
