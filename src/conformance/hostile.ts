/** What drivers have done to devices over the years, by accident or to break out. */

import { SplitDriverRing } from '../driver/split-queue.ts'
import { run } from '../driver/steps.ts'
import { Feature, Status } from '../virtio/core.ts'
import { LegacyRegisters, Registers } from '../virtio/mmio.ts'
import { Capability } from '../virtio/pci.ts'
import { Header } from '../virtio/pci-config.ts'
import { MAX_INDIRECT } from '../virtio/split-ring.ts'
import {
  both,
  type Case,
  isLegacy,
  isMmio,
  mmioAny,
  mmioLegacy,
  modernOnly,
  packedOnly,
  pciAny,
  pciModern,
  splitOnly,
} from './case.ts'
import { writeFeatures } from './common.ts'
import { check, INDIRECT, NEXT, type RawDescriptor, type Rig, same, WRITE } from './rig.ts'

const room = (rig: Rig, len = 8): RawDescriptor => ({ addr: rig.allocate(len), len, flags: WRITE })

/** Each input in a fresh device: it must be refused. */
function refuses(
  rig: Rig,
  inputs: Readonly<Record<string, (rig: Rig) => readonly RawDescriptor[]>>,
  without?: number[],
) {
  for (const [what, build] of Object.entries(inputs)) {
    rig.reset()
    rig.start({ without: without ?? [] })
    if (!without && what.includes('indirect') && !rig.has(Feature.INDIRECT_DESC)) continue
    rig.submit(build(rig))
    rig.refused(what)
  }
}
/** Either it is refused, or it is used with a length that can be true. */
function survives(rig: Rig, what: string, most: number) {
  if (rig.used() > 0) {
    check(rig.usedLength() <= most, `${what}: the used length is ${rig.usedLength()}`)
    rig.usable(what)
  } else rig.refused(what)
}

export const hostile: readonly Case[] = [
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
  {
    id: 'H20',
    section: '4.2.2.2',
    title: 'queue sizes 0, 3, more than the largest, and a change after enabling',
    subject: 'entropy',
    absent: ({ transport, forceLegacy }) =>
      transport === 'pci-legacy' || forceLegacy ? 'the legacy PCI interface has no size to set' : undefined,
    run(rig) {
      const setSize = (size: number) => {
        if (rig.subject.window) rig.subject.window.write(Registers.QueueSize.at, 4, size)
        else run(rig.common.write('queue_size', size))
      }
      const wrong = rig.variant.packed ? [0, 0x8000 + 1, 0xffff] : [0, 3, 100, 0x8000 + 1, 0xffff]
      for (const size of wrong) {
        rig.reset()
        rig.negotiate()
        const ring = rig.ring(0, 16)
        // The right size, then the wrong one: it must be ignored.
        const { transport } = rig
        const original = transport.enableQueue.bind(transport)
        void original
        select(rig, 0)
        setSize(16)
        setSize(size)
        if (!isMmio(rig.variant)) same(run(rig.common.read('queue_size')), 16, `queue_size after ${size}`)
        place(rig, ring.placement)
        rig.driverOk()
        same(rig.request(4), 4, `written after QueueSize ${size}`)
        setSize(8)
        for (let i = 0; i < 20; i++) same(rig.request(4), 4, 'written after a change of size while enabled')
      }
    },
  },
  {
    id: 'H21',
    section: '4.2.2.2',
    title: 'rings that are misaligned, overlap, lie outside RAM, or were never given an address',
    subject: 'echo',
    absent: modernOnly,
    run(rig) {
      const end = rig.memory.size
      const broken: Record<string, (p: { desc: number; driver: number; device: number }) => object> = {
        'a descriptor area at 8 mod 16': p => ({ desc: p.desc + 8 }),
        'a driver area at an odd address': p => ({ driver: p.driver + 1 }),
        'a device area at 2 mod 4': p => ({ device: p.device + 2 }),
        'a descriptor area past RAM': () => ({ desc: end }),
        'a driver area past RAM': () => ({ driver: 0x1_0000_0000 }),
        'a device area at the last bytes of RAM': p => ({ device: rig.variant.packed ? end : end - 8, desc: p.desc }),
        'a device area at 2^60': () => ({ device: 2 ** 60 }),
        'a device area in the descriptor area': p => ({ device: p.desc }),
        'a driver area in the descriptor area': p => ({ driver: p.desc + 32 }),
      }
      for (const [what, change] of Object.entries(broken)) {
        rig.reset()
        rig.negotiate()
        const ring = rig.ring(0, 16)
        rig.enable(0, { ...ring.placement, ...change(ring.placement) })
        rig.driverOk()
        ring.add([], [rig.room(4)], 0)
        rig.kick()
        same(rig.used(), 0, `${what}: used`)
        same(rig.echo.kicks.length, 0, `${what}: notifications the device saw`)
        rig.usable(what)
        rig.echo.kicks.length = 0
      }
    },
  },
  {
    id: 'H21b',
    section: '4.1.4.3.2',
    title: 'a queue enabled twice, and 0 written to queue_enable',
    subject: 'entropy',
    absent: pciModern,
    run(rig) {
      rig.start()
      same(rig.request(4), 4, 'written')
      run(rig.common.write('queue_select', 0))
      run(rig.common.write('queue_enable', 1))
      same(rig.request(4), 4, 'written after enabling it again')
      run(rig.common.write('queue_enable', 0))
      same(run(rig.common.read('queue_enable')), 1, 'queue_enable after 0 was written')
      same(rig.request(4), 4, 'written after that')
    },
  },
  {
    id: 'H21c',
    section: '3.1.1',
    title: 'rings enabled first, and features that change their shape accepted later',
    subject: 'echo',
    absent: modernOnly,
    run(rig) {
      // Split rings at the very end of RAM: with EVENT_IDX they would reach past it.
      rig.setStatus(3)
      const end = rig.memory.size
      const size = 16
      const device = end - (4 + 8 * size)
      rig.enable(0, { size, desc: rig.allocate(256), driver: rig.allocate(64), device })
      writeFeatures(rig, (1n << 32n) | (1n << BigInt(Feature.EVENT_IDX)))
      rig.setStatus(11)
      rig.setStatus(15)
      run(rig.transport.notify(0))
      check((rig.status() & Status.NEEDS_RESET) !== 0 || rig.echo.kicks.length === 0, 'the device runs on such rings')
      rig.usable('rings that grew past RAM')
    },
  },
  {
    id: 'H22',
    section: '4.2.4',
    title: 'an alignment or page size of 0, and a page number that overflows',
    subject: 'entropy',
    absent: mmioLegacy,
    run(rig) {
      const write = (name: keyof typeof LegacyRegisters, value: number) =>
        rig.subject.window!.write(LegacyRegisters[name].at, 4, value)
      const attempts: [number, number, number][] = [
        [0, 4096, 16],
        [4096, 0, 16],
        [0, 0, 0xffffffff],
        [4096, 4096, 0xffffffff],
        [0x80000000, 0x80000000, 0xffffffff],
        [3, 3, 3],
        [0xffffffff, 0xffffffff, 1],
      ]
      for (const [page, align, pfn] of attempts) {
        rig.reset()
        rig.negotiate()
        select(rig, 0)
        write('GuestPageSize', page)
        write('QueueSize', 16)
        write('QueueAlign', align)
        write('QueuePFN', pfn)
        rig.driverOk()
        rig.kick()
        write('GuestPageSize', 4096)
        rig.usable(`pages of ${page}, aligned to ${align}, page ${pfn}`)
      }
    },
  },
  {
    id: 'H23',
    section: '2.3',
    title: 'notifications for queues that are not there, or not enabled',
    subject: 'console',
    run(rig) {
      rig.start({ without: [1] }, [1])
      const { window } = rig.subject
      for (const index of [0, 2, 7, 1000, 0xfffe, 0xffff, 0x10001, 0x7fffffff, 0xffffffff]) {
        if (window) window.write(Registers.QueueNotify.at, 4, index)
        else if (index <= 0xffff) run(rig.transport.notify(index))
        rig.subject.settle()
      }
      same(rig.status() & 0xc0, 0, 'NEEDS_RESET and FAILED')
      const before = rig.subject.output!().length
      rig.rings[1]!.add([rig.put(Uint8Array.of(65))], [], 0)
      rig.kick(1)
      same(rig.subject.output!().length, before + 1, 'bytes put out after that')
    },
  },
  {
    id: 'H24',
    section: '2.1.2',
    title: 'a notification before DRIVER_OK, and after a reset',
    subject: 'echo',
    run(rig) {
      rig.kick()
      rig.negotiate()
      rig.kick()
      rig.ring()
      rig.kick()
      rig.reset()
      rig.kick()
      same(rig.echo.kicks.length, 0, 'notifications the device saw')
      rig.usable('early and late notifications')
    },
  },
  {
    id: 'H25',
    section: '2.4.1',
    title: 'a reset with requests in flight: what finishes later writes nothing and interrupts nobody',
    subject: 'echo',
    run(rig) {
      const { echo } = rig
      rig.start()
      echo.hold = true
      const room = rig.room(4)
      rig.rings[0]!.add([rig.put(Uint8Array.of(1, 2, 3, 4))], [room], 0)
      rig.kick()
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
    id: 'H31',
    section: '2.5',
    title: 'configuration reads past the end, of any width and alignment, and writes to what is read-only',
    subject: 'console',
    run(rig) {
      const { transport } = rig
      const sizes = [1, 2, 4]
      const before = [0, 1, 2, 3, 4, 5, 6, 7].map(at => rig.config(at, 1)).join()
      for (let at = 0; at < 64; at++) for (const size of sizes) check(rig.config(at, size) >= 0, `config ${at}`)
      for (const at of [12, 13, 20, 100, 200]) for (const size of sizes) rig.config(at, size)
      for (let at = 0; at < 8; at++)
        for (const size of sizes) if (at + size <= 8) run(transport.writeConfig(at, size, 0xffffffff))
      for (const at of [12, 33, 64, 100]) run(transport.writeConfig(at, 4, 0xffffffff))
      same([0, 1, 2, 3, 4, 5, 6, 7].map(at => rig.config(at, 1)).join(), before, 'the read-only fields')
      rig.start({ without: [1] }, [0, 1])
    },
  },
  {
    id: 'H32',
    section: '4.1.4.9',
    title: 'a PCI_CFG window that points nowhere',
    subject: 'entropy',
    absent: pciModern,
    run(rig) {
      const pci = rig.subject.pci!
      const at = run(pci.capabilities(9)).find(at => run(pci.read(at + 3, 1)) === 5)!
      const data = at + Capability.size
      for (const bar of [0, 1, 4, 5, 6, 255])
        for (const offset of [0, 1, 3, 0x3ffc, 0x3ffd, 0x4000, 0x7fffffff, 0xfffffffc, 0xffffffff])
          for (const length of [0, 1, 2, 3, 4, 5, 8, 0x80000000, 0xffffffff]) {
            if (bar === 4 && offset < 0x3ff0) continue
            run(pci.write(at + 4, 1, bar))
            run(pci.write(at + 8, 4, offset))
            run(pci.write(at + 12, 4, length))
            run(pci.read(data, 4))
            run(pci.write(data, 4, 0xffffffff))
          }
      rig.usable('a window that points nowhere')
    },
  },
  {
    id: 'H33',
    section: '4.1.5.1.2',
    title: 'MSI-X vectors past the table, and writes past its end',
    subject: 'entropy',
    options: { messages: true },
    absent: pciModern,
    run(rig) {
      const pci = rig.subject.pci!
      const [at] = run(pci.capabilities(0x11))
      if (at === undefined) return 'it has no MSI-X'
      const table = run(pci.read(at + 4, 4))
      const window = pci.map(run(pci.bar(table & 7))!)
      for (const offset of [0x100, 0x7fc, 0x800, 0xff0, 0xffc]) {
        window.write(offset, 4, 0xffffffff)
        window.read(offset, 4)
      }
      for (const vector of [0x7ff, 0x800, 0x7fff, 0xfffe]) {
        run(rig.common.write('queue_select', 0))
        run(rig.common.write('queue_msix_vector', vector))
        same(run(rig.common.read('queue_msix_vector')), 0xffff, `queue_msix_vector after ${vector}`)
      }
      rig.usable('vectors past the table')
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
          check(!order.some(at => at > desc && at < desc + 256 && at % 8 !== 0), 'half a descriptor')
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
  {
    id: 'H49',
    section: '4.1',
    title: 'a function pulled out with requests in flight',
    subject: 'echo',
    absent: pciAny,
    run(rig) {
      const { echo } = rig
      rig.start()
      echo.hold = true
      const room = rig.room(4)
      rig.rings[0]!.add([rig.put(Uint8Array.of(1, 2, 3, 4))], [room], 0)
      rig.kick()
      rig.inside.unplug()
      for (const chain of echo.held) echo.answer(chain)
      same(rig.used(), 0, 'used')
      same(`${rig.bytes(room.address, 4)}`, '0,0,0,0', 'the buffer')
      check(!rig.subject.level(), 'an interrupt')
      same(run(rig.subject.pci!.get('vendor')), 0xffff, 'the vendor of the empty slot')
    },
  },
  {
    id: 'H50',
    section: '4.1.4.5',
    title: 'an interrupt masked and unmasked is not lost',
    subject: 'entropy',
    absent: pciAny,
    run(rig) {
      rig.start()
      const pci = rig.subject.pci!
      const { INTX_DISABLE } = Header.fields.command.bits
      const command = run(pci.get('command'))
      run(pci.write(Header.offset.command, 2, command | INTX_DISABLE))
      rig.request(4)
      check(!rig.subject.level(), 'INTA# is up though it is disabled')
      run(pci.write(Header.offset.command, 2, command))
      check(rig.subject.level(), 'INTA# stays down once it is enabled')
      same(rig.causes(), 1, 'the cause')
    },
  },
]

/** Selects a queue. */
function select(rig: Rig, index: number) {
  const { window } = rig.subject
  if (window) window.write(Registers.QueueSel.at, 4, index)
  else run(rig.common.write('queue_select', index))
}

/** Gives the selected queue its rings and enables it, leaving the size as it is. */
function place(rig: Rig, { desc, driver, device }: { desc: number; driver: number; device: number }) {
  const { window } = rig.subject
  if (window && isLegacy(rig.variant)) {
    window.write(LegacyRegisters.QueueAlign.at, 4, 4096)
    window.write(LegacyRegisters.QueuePFN.at, 4, desc / 4096)
  } else if (window) {
    window.write(Registers.QueueDescLow.at, 4, desc)
    window.write(Registers.QueueDriverLow.at, 4, driver)
    window.write(Registers.QueueDeviceLow.at, 4, device)
    window.write(Registers.QueueReady.at, 4, 1)
  } else {
    run(rig.common.write('queue_desc_lo', desc))
    run(rig.common.write('queue_driver_lo', driver))
    run(rig.common.write('queue_device_lo', device))
    run(rig.common.write('queue_enable', 1))
  }
}
void both
void mmioAny
