/** Sections 2.7 and 2.8: the rings. */

import { SplitDriverRing } from '../driver/split-queue.ts'
import { Feature } from '../virtio/core.ts'
import { PackedDescriptor } from '../virtio/packed-ring.ts'
import { type Case, packedOnly, splitOnly } from './case.ts'
import { check, INDIRECT, NEXT, type Rig, same, type Variant, WRITE } from './rig.ts'

const { AVAIL, USED } = PackedDescriptor.fields.flags.bits
const text = (value: string) => Uint8Array.from(value, char => char.charCodeAt(0))

/** Writable one-byte buffers in the first `count` descriptors, one request each (split). */
function singles(rig: Rig, count: number) {
  const address = rig.allocate(count)
  for (let i = 0; i < count; i++)
    rig.describe(rig.rings[0]!.placement.desc, i, { addr: address + i, len: 1, flags: WRITE })
}
/** Makes `count` of these available at once, without a kick. */
function offer(rig: Rig, count: number) {
  const ring = rig.rings[0]
  if (!(ring instanceof SplitDriverRing)) throw new Error('split rings only')
  for (let i = 0; i < count; i++) ring.offer(i)
}
const setUsedEvent = (rig: Rig, index: number) => {
  const { driver, size } = rig.rings[0]!.placement
  rig.memory.setU16(driver + 4 + 2 * size, index & 0xffff)
}
const setAvailFlags = (rig: Rig, flags: number) => rig.memory.setU16(rig.rings[0]!.placement.driver, flags)
/** Kicks, and says whether it interrupted for a queue. */
function interrupts(rig: Rig): boolean {
  rig.causes()
  rig.kick()
  return (rig.causes() & 1) !== 0
}

const notPacked = ({ packed }: Variant) => (packed ? '§2.8.8 lets no driver do it with packed rings' : undefined)
function mixed(rig: Rig) {
  rig.start()
  if (!rig.has(Feature.INDIRECT_DESC)) return 'INDIRECT_DESC is not offered'
  const { address, length } = rig.table([
    { addr: rig.allocate(8), len: 8, flags: WRITE },
    { addr: rig.allocate(4), len: 4, flags: WRITE },
  ])
  rig.submit([
    { addr: rig.allocate(16), len: 16, flags: WRITE },
    { addr: address, len: length, flags: INDIRECT },
  ])
  same(rig.used(), 1, 'used')
  same(rig.usedLength(), 28, 'the used length')
  return
}

export const rings: readonly Case[] = [
  {
    id: 'R11',
    section: '2.7.4.1',
    title: 'framing means nothing: one request in many descriptors, of any length, is the same request',
    subject: 'console',
    run(rig) {
      rig.start({ without: [1] }, [0, 1])
      const ring = rig.rings[1]!
      const words = text('framing means nothing')
      const before = rig.subject.output!().length
      ring.add([rig.put(words)], [], 0)
      rig.kick(1)
      ring.take()
      ring.add(
        [...words].slice(0, 10).map(byte => rig.put(Uint8Array.of(byte))),
        [],
        1,
      )
      rig.kick(1)
      ring.take()
      ring.add(
        [words.subarray(10, 13), words.subarray(13, 14), words.subarray(14)].map(part => rig.put(part)),
        [],
        2,
      )
      rig.kick(1)
      const written = String.fromCharCode(...rig.subject.output!().subarray(before))
      same(written, 'framing means nothing'.repeat(2), 'the output')
    },
  },
  {
    id: 'R11b',
    section: '2.7.4.1',
    title: 'and one answer in many descriptors is the same answer',
    subject: 'entropy',
    run(rig) {
      rig.start()
      const ring = rig.rings[0]!
      for (const lengths of [[1, 1, 1, 1, 1, 1, 1], [3, 1, 64], [100]]) {
        const room = lengths.map(length => rig.room(length))
        ring.add([], room, 0)
        rig.kick()
        const total = lengths.reduce((sum, length) => sum + length)
        same(ring.take()?.length, total, `written into ${lengths.length} descriptors`)
      }
    },
  },
  {
    id: 'R12',
    section: '2.7.5.1',
    title: 'neither a readable buffer nor the descriptor table is written',
    subject: 'console',
    run(rig) {
      rig.start({ without: [1] }, [0, 1])
      const ring = rig.rings[1]!
      const buffers = [text('do not'), text(' write'), text(' here\n')].map(part => rig.put(part))
      ring.add(buffers, [], 0)
      const { desc, driver, size } = ring.placement
      const table = () => `${rig.variant.packed ? '' : rig.bytes(desc, 16 * size)}`
      const all = () =>
        `${buffers.map(({ address, length }) => rig.bytes(address, length))}|${rig.bytes(driver, 4)}|${table()}`
      const before = all()
      rig.kick(1)
      same(rig.used(1), 1, 'used')
      same(all(), before, 'buffers, descriptor table and driver area')
    },
  },
  {
    id: 'R13',
    section: '2.7.5.3.2',
    title: 'WRITE means nothing on the descriptor that points to an indirect table',
    subject: 'entropy',
    run(rig) {
      rig.start()
      if (!rig.has(Feature.INDIRECT_DESC)) return 'INDIRECT_DESC is not offered'
      const { address, length } = rig.table([
        { addr: rig.allocate(8), len: 8, flags: WRITE },
        { addr: rig.allocate(8), len: 8, flags: WRITE },
      ])
      rig.submit([{ addr: address, len: length, flags: INDIRECT | WRITE }])
      same(rig.used(), 1, 'used')
      same(rig.usedLength(), 16, 'the used length')
    },
  },
  {
    id: 'R14',
    section: '2.7.5.3.2',
    title: 'ordinary descriptors may go on in an indirect table',
    subject: 'entropy',
    absent: notPacked,
    run: mixed,
  },
  {
    id: 'H18',
    section: '2.7.5.3.2',
    title: 'an indirect descriptor at the end of a chain, which must work (R14)',
    subject: 'entropy',
    absent: notPacked,
    run: mixed,
  },
  {
    id: 'R15',
    section: '2.7.7.2',
    title: 'without EVENT_IDX used_event means nothing: flags 0 interrupts, 1 does not',
    subject: 'entropy',
    absent: splitOnly,
    run(rig) {
      rig.start({ without: [Feature.EVENT_IDX] })
      singles(rig, 8)
      setUsedEvent(rig, 5)
      for (const flags of [0, 1, 0, 0, 1]) {
        setAvailFlags(rig, flags)
        offer(rig, 1)
        same(interrupts(rig), flags === 0, `interrupted with avail.flags ${flags}`)
      }
      same(rig.used(), 5, 'used')
    },
  },
  {
    id: 'R15p',
    section: '2.8.10',
    title: 'without EVENT_IDX the driver area says whether to interrupt, always or never',
    subject: 'entropy',
    absent: packedOnly,
    run(rig) {
      rig.start({ without: [Feature.EVENT_IDX] })
      const ring = rig.rings[0]!
      for (const on of [true, false, true, true, false]) {
        if (on) ring.enableInterrupts()
        else ring.disableInterrupts()
        ring.add([], [rig.room(4)], 0)
        same(interrupts(rig), on, `interrupted with flags ${on ? 'ENABLE' : 'DISABLE'}`)
        ring.take()
      }
    },
  },
  {
    id: 'R16',
    section: '2.7.7.2',
    title: 'with EVENT_IDX flags mean nothing: it interrupts when used.idx passes used_event, over 65535 too',
    subject: 'entropy',
    absent: splitOnly,
    run(rig) {
      rig.start({}, [0], 256)
      if (!rig.has(Feature.EVENT_IDX)) return 'EVENT_IDX is not offered'
      const { size } = rig.rings[0]!.placement
      singles(rig, size)
      setAvailFlags(rig, 1)
      let used = 0
      const go = (count: number, event: number, expected: boolean) => {
        setUsedEvent(rig, event)
        offer(rig, count)
        same(interrupts(rig), expected, `interrupted going from ${used} by ${count} with used_event ${event & 0xffff}`)
        used = (used + count) & 0xffff
      }
      go(1, 0, true)
      go(1, 0, false)
      go(1, 2, true)
      go(3, 4, true)
      go(2, 8, false)
      go(1, 7, false)
      // All the way round, to just before the wrap: too far where every notification goes to another process.
      if (!rig.subject.inside) return
      while (used + size < 65536 - 4) go(size, used - 1, false)
      while (used < 65536 - 4) go(1, used - 1, false)
      go(2, 65533, true)
      go(1, 65535, false)
      go(2, 65535, true)
      go(1, 65535, false)
      go(3, 3, true)
      go(3, 2, false)
    },
  },
  {
    id: 'R16p',
    section: '2.8.10',
    title: 'with EVENT_IDX it interrupts when it uses the descriptor that was named, over the wrap too',
    subject: 'entropy',
    absent: packedOnly,
    run(rig) {
      rig.start({}, [0], 8)
      if (!rig.has(Feature.EVENT_IDX)) return 'EVENT_IDX is not offered'
      const ring = rig.rings[0]!
      const { driver, size } = ring.placement
      let at = 0
      const go = (count: number, ahead: number, expected: boolean) => {
        const position = (at + ahead) % (2 * size)
        const event = position < size ? position | 0x8000 : position - size
        const arm = () => {
          rig.memory.setU16(driver, event)
          rig.memory.setU16(driver + 2, 2)
        }
        for (let i = 0; i < count; i++) ring.add([], [rig.room(1)], 0)
        arm()
        same(interrupts(rig), expected, `interrupted at ${at}, using ${count}, with the event ${ahead} ahead`)
        for (let i = 0; i < count; i++) check(ring.take() !== undefined, 'a request was not used')
        at = (at + count) % (2 * size)
      }
      for (let round = 0; round < 6; round++) {
        go(1, 0, true)
        go(1, 1, false)
        go(3, 2, true)
        go(2, 2, false)
        go(2, 1, true)
        go(4, 4 + round, false)
      }
    },
  },
  {
    id: 'R17',
    section: '2.7.8.2',
    title: 'the used length is what was written from the first writable byte on, and no more',
    subject: 'echo',
    run(rig) {
      rig.start()
      const ring = rig.rings[0]!
      const exchange = (out: number[], room: number[]) => {
        const sent = out.map(length => rig.put(new Uint8Array(length).fill(0xab)))
        ring.add(
          sent,
          room.map(length => rig.room(length)),
          0,
        )
        rig.kick()
        return ring.take()?.length
      }
      same(exchange([], [16]), 0, 'the length when nothing was written')
      same(exchange([5], [16]), 5, 'the length of a short answer')
      same(exchange([5], [2, 16]), 5, 'the length over two descriptors')
      same(exchange([32], [4, 4]), 8, 'the length of an answer cut short')
      same(exchange([5], []), 0, 'the length without a writable descriptor')
      // A gap: the first bytes were never written.
      const { echo } = rig
      echo.hold = true
      ring.add([], [rig.room(16)], 0)
      rig.kick()
      const chain = echo.held[0]!
      chain.writer.seek(8)
      chain.writer.bytes(Uint8Array.of(1, 2))
      chain.complete()
      same(ring.take()?.length, 0, 'the length after a gap')
    },
  },
  {
    id: 'R17b',
    section: '2.7.8.2',
    title: 'data and length are in memory before used.idx, or the used flags, say so',
    subject: 'echo',
    run(rig) {
      rig.start()
      const ring = rig.rings[0]!
      const room = rig.room(4)
      ring.add([rig.put(text('data'))], [room], 0)
      const order = rig.inside.stores(() => rig.kick())
      const split = !rig.variant.packed
      const { desc, device } = ring.placement
      const find = (from: number, length: number) => order.findIndex(at => at >= from && at < from + length)
      const data = find(room.address, 4)
      const shown = split ? find(device + 2, 2) : find(desc + 8, 8)
      check(data >= 0 && shown > data, 'the data came after the descriptor was shown as used')
      if (split) check(find(device + 4, 8) >= 0 && find(device + 4, 8) < shown, 'the length came after used.idx')
    },
  },
  {
    id: 'R17p',
    section: '2.8.5',
    title: 'a used descriptor has WRITE if anything was written, without which its length means nothing',
    subject: 'entropy',
    absent: packedOnly,
    run(rig) {
      rig.start()
      const { desc } = rig.rings[0]!.placement
      rig.request(8)
      check((rig.memory.view.getUint16(desc + 14, true) & WRITE) !== 0, 'WRITE is not set over 8 written bytes')
      same(rig.usedLength(), 8, 'the used length')
    },
  },
  {
    id: 'R18',
    section: '2.7.10.2',
    title: 'used.flags is 0 or 1, and 0 with EVENT_IDX',
    subject: 'entropy',
    absent: splitOnly,
    run(rig) {
      const flags = () => rig.memory.view.getUint16(rig.rings[0]!.placement.device, true)
      for (const without of [[], [Feature.EVENT_IDX]]) {
        rig.reset()
        rig.start({ without })
        for (let i = 0; i < 5; i++) {
          rig.request(4)
          check(flags() <= 1, `used.flags is ${flags()}`)
          if (rig.has(Feature.EVENT_IDX)) same(flags(), 0, 'used.flags with EVENT_IDX')
        }
      }
    },
  },
  {
    id: 'R18p',
    section: '2.8.10',
    title: 'the device area asks for notifications always, never, or (with EVENT_IDX) at a descriptor',
    subject: 'entropy',
    absent: packedOnly,
    run(rig) {
      for (const without of [[], [Feature.EVENT_IDX]]) {
        rig.reset()
        rig.start({ without })
        for (let i = 0; i < 40; i++) {
          same(rig.request(4), 4, 'written')
          const { device } = rig.rings[0]!.placement
          const flags = rig.memory.view.getUint16(device + 2, true)
          check(flags <= (rig.has(Feature.EVENT_IDX) ? 2 : 1), `the flags of the device area are ${flags}`)
          const ring = rig.rings[0]!
          ring.needsKick()
        }
      }
    },
  },
  {
    id: 'R19',
    section: '2.7.10.2',
    title: 'a notification without a buffer does no harm',
    subject: 'entropy',
    run(rig) {
      rig.start()
      for (let i = 0; i < 4; i++) {
        for (let j = 0; j < 3; j++) rig.kick()
        same(rig.request(8), 8, 'written after empty notifications')
      }
      rig.kick()
      same(rig.status() & 0xc0, 0, 'NEEDS_RESET and FAILED')
    },
  },
  {
    id: 'R19b',
    section: '2.7.10',
    title: 'a driver that notifies only when asked is served, whatever the bursts',
    subject: 'entropy',
    run(rig) {
      for (const without of [[], [Feature.EVENT_IDX], [Feature.INDIRECT_DESC]]) {
        rig.reset()
        rig.start({ without }, [0], 16)
        const ring = rig.rings[0]!
        let taken = 0
        let added = 0
        for (let round = 0; round < 60; round++) {
          for (let i = 0; i <= round % 5 && ring.free > 0; i++) if (ring.add([], [rig.room(2)], 0)) added++
          if (ring.needsKick()) rig.kick()
          while (ring.take()) taken++
        }
        same(taken, added, 'requests that came back')
      }
    },
  },
  {
    id: 'R20',
    section: '2.8',
    title: 'a packed descriptor is used only once it is available, in ring order, and then left alone',
    subject: 'entropy',
    absent: packedOnly,
    run(rig) {
      rig.start({}, [0], 8)
      const { desc } = rig.rings[0]!.placement
      const [first, second] = [rig.allocate(8), rig.allocate(8)]
      rig.describe(desc, 1, { addr: second, len: 8, flags: WRITE | AVAIL }, 7)
      rig.kick()
      same(rig.used(), 0, 'used while slot 0 is not available')
      rig.describe(desc, 0, { addr: first, len: 8, flags: WRITE | AVAIL }, 3)
      rig.kick()
      same(rig.used(), 2, 'used once slot 0 is available')
      same(rig.memory.view.getUint16(desc + 12, true), 3, 'the buffer ID in slot 0')
      same(rig.memory.view.getUint16(desc + 28, true), 7, 'the buffer ID in slot 1')
      const before = `${rig.bytes(desc, 128)}`
      rig.kick()
      same(`${rig.bytes(desc, 128)}`, before, 'the ring after one more notification')
    },
  },
  {
    id: 'R20b',
    section: '2.8.6',
    title: 'a packed chain goes by the buffer ID in its last descriptor',
    subject: 'entropy',
    absent: packedOnly,
    run(rig) {
      rig.start({ without: [Feature.INDIRECT_DESC] }, [0], 8)
      const { desc } = rig.rings[0]!.placement
      for (const [i, id] of [5, 6, 7].entries()) {
        const flags = WRITE | AVAIL | (i < 2 ? NEXT : 0)
        rig.describe(desc, i, { addr: rig.allocate(4), len: 4, flags }, id)
      }
      rig.kick()
      same(rig.used(), 1, 'used')
      same(rig.memory.view.getUint16(desc + 12, true), 7, 'the buffer ID')
      same(rig.usedLength(), 12, 'the used length')
    },
  },
  {
    id: 'R20c',
    section: '2.8.6',
    title: 'a packed chain is used in its first slot, and the one after it as many slots on as it had descriptors',
    subject: 'entropy',
    absent: packedOnly,
    run(rig) {
      rig.start({ without: [Feature.INDIRECT_DESC] }, [0], 8)
      const { desc } = rig.rings[0]!.placement
      for (const [i, id] of [5, 6, 7, 3].entries()) {
        const flags = WRITE | AVAIL | (i < 2 ? NEXT : 0)
        rig.describe(desc, i, { addr: rig.allocate(4), len: 4, flags }, id)
      }
      rig.kick()
      const slot = (i: number) => rig.memory.view.getUint32(desc + 16 * i + 12, true)
      const used = (id: number) => (id | ((WRITE | AVAIL | USED) << 16)) >>> 0
      same(slot(0), used(7), 'slot 0, where a chain of three begins')
      same(slot(3), used(3), 'slot 3, where the next begins')
    },
  },
]
