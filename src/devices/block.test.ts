import { describe, expect, test } from 'vitest'
import { testMachine, variants } from '../driver/testing.ts'
import { Status } from '../virtio/core.ts'
import { BackendError } from '../virtio/machine.ts'
import { BlockConfig, BlockDevice, BlockRange, BlockRequest, Block as Spec } from './block.ts'
import { type BlockBackend, MemoryDisk } from './block-backend.ts'

const { IN, OUT, FLUSH, GET_ID, GET_LIFETIME, DISCARD, WRITE_ZEROES, SECURE_ERASE } = BlockRequest.fields.type.bits
const F = Spec.features
const SECTORS = 64
const OK = 0
const IOERR = 1
const UNSUPP = 2

const header = (type: number, sector = 0) => BlockRequest.bytes({ type, sector })
const range = (sector: number, num_sectors: number, flags = 0) => BlockRange.bytes({ sector, num_sectors, flags })
const sector = (value: number, count = 1) => new Uint8Array(512 * count).fill(value)
const status = (sent: { input: Uint8Array }) => sent.input.at(-1)
const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0
const image = () => Uint8Array.from({ length: SECTORS * 512 }, (_, i) => (i >> 9) + 1)

/** A disk that notes what is asked of it, and does it when it is told to. */
class Slow implements BlockBackend {
  readonly async = true
  readonly log: string[] = []
  readonly open: { what: string; go: (error?: Error) => void }[] = []
  readonly disk = new MemoryDisk(image())
  readonly capacity = SECTORS * 512
  private later(what: string, work: () => void) {
    this.log.push(what)
    return new Promise<void>((done, failed) => {
      const go = (error?: Error) => {
        if (error) return failed(error)
        work()
        done()
      }
      this.open.push({ what, go })
    })
  }
  read(offset: number, target: Uint8Array) {
    return this.later(`read ${offset / 512}`, () => this.disk.read(offset, target))
  }
  write(offset: number, bytes: Uint8Array) {
    const copy = bytes.slice()
    return this.later(`write ${offset / 512}`, () => this.disk.write(offset, copy))
  }
  flush() {
    return this.later('flush', () => {})
  }
}

describe.each(variants)('$title', variant => {
  const machine = (backend: BlockBackend, options = {}) =>
    testMachine(new BlockDevice(backend), { ...variant, ...options })

  test('reads and writes whole sectors within the notification, whatever the framing', () => {
    const bytes = image()
    const m = machine(new MemoryDisk(bytes))
    const read = m.send(0, header(IN, 3), [512, 1024, 1])
    expect([read.used, read.written, status(read)]).toEqual([true, 1537, OK])
    expect(same(read.input.subarray(0, 1536), bytes.subarray(3 * 512, 6 * 512))).toBe(true)
    const cut = m.send(0, [header(IN, 3).subarray(0, 5), header(IN, 3).subarray(5)], [100, 412, 300, 212, 1])
    expect([cut.written, status(cut)]).toEqual([1025, OK])
    expect(same(cut.input.subarray(0, 1024), bytes.subarray(3 * 512, 5 * 512))).toBe(true)
    const merged = m.send(0, header(IN, 1), [513])
    expect([merged.written, merged.input.at(0), status(merged)]).toEqual([513, 2, OK])
    const write = m.send(
      0,
      [new Uint8Array([...header(OUT, 7), ...sector(9).subarray(0, 100)]), sector(9, 2).subarray(100)],
      1,
    )
    expect([write.written, status(write)]).toEqual([1, OK])
    expect(same(bytes.subarray(7 * 512, 9 * 512), sector(9, 2))).toBe(true)
    expect(bytes[9 * 512]).toBe(10)
  })

  test('many requests are in flight, and finish in any order', async () => {
    const slow = new Slow()
    const m = machine(slow)
    const sent = [5, 6, 7].map(at => m.send(0, header(IN, at), [512, 1]))
    expect(sent.map(one => one.used)).toEqual([false, false, false])
    slow.open[2]!.go()
    await m.done(sent[2]!)
    expect([sent[2]!.input[0], status(sent[2]!)]).toEqual([8, OK])
    expect(sent[0]!.used).toBe(false)
    slow.open[0]!.go(new BackendError('no network'))
    await m.done(sent[0]!)
    expect(status(sent[0]!)).toBe(IOERR)
    slow.open[1]!.go()
    await m.done(sent[1]!)
  })

  test('what is at hand of a slow store is answered within the notification', () => {
    const slow = Object.assign(new Slow(), {
      readNow(offset: number, target: Uint8Array) {
        if (offset !== 512) return false
        slow.disk.read(offset, target)
        return true
      },
    })
    const m = machine(slow)
    expect(m.send(0, header(IN, 1), [512, 1]).used).toBe(true)
    expect(m.send(0, header(IN, 2), [512, 1]).used).toBe(false)
  })

  test('R1: nothing comes back after a reset, though the store answers later', async () => {
    const slow = new Slow()
    const m = machine(slow)
    const sent = m.send(0, header(IN, 5), [512, 1])
    m.restart()
    const interrupts = m.interrupts
    slow.open[0]!.go()
    await new Promise(resolve => setTimeout(resolve))
    m.poll()
    expect([sent.input.some(byte => byte !== 0), m.interrupts, sent.written]).toEqual([false, interrupts, undefined])
  })

  test('a failed store is IOERR; a bug is not hidden behind it', async () => {
    const bad = new MemoryDisk(image())
    bad.read = () => {
      throw new BackendError('worn out')
    }
    const m = machine(bad)
    const sent = m.send(0, header(IN, 0), [512, 1])
    expect([sent.written, status(sent)]).toEqual([0, IOERR])
    bad.read = () => {
      throw new TypeError('a bug')
    }
    expect(() => m.send(0, header(IN, 0), [512, 1])).toThrow(TypeError)
  })

  test('GET_ID gives 20 bytes of the serial number', () => {
    const m = machine(new MemoryDisk(image(), 'disk-1'))
    const sent = m.send(0, header(GET_ID), [20, 1])
    expect(new TextDecoder().decode(sent.input.subarray(0, 20))).toBe(`disk-1${'\0'.repeat(14)}`)
    expect([sent.written, status(sent)]).toEqual([21, OK])
  })

  test('the configuration says what the backend is, and the features what it can do', () => {
    const m = machine(new MemoryDisk(image()))
    const { offset } = BlockConfig
    expect([m.config(offset.capacity, 4), m.config(offset.capacity + 4, 4)]).toEqual([SECTORS, 0])
    expect(m.config(offset.seg_max, 4)).toBe(254)
    expect([m.config(offset.blk_size, 4), m.config(offset.physical_block_exp, 1)]).toEqual([512, 3])
    expect([m.config(offset.heads, 1), m.config(offset.sectors, 1)]).toEqual([16, 63])
    for (const feature of [
      F.SIZE_MAX,
      F.SEG_MAX,
      F.GEOMETRY,
      F.BLK_SIZE,
      F.FLUSH,
      F.TOPOLOGY,
      F.CONFIG_WCE,
      F.DISCARD,
      F.WRITE_ZEROES,
      F.SECURE_ERASE,
    ])
      expect(m.core.accepted(feature)).toBe(true)
    for (const feature of [F.RO, F.MQ, F.LIFETIME]) expect(m.core.accepted(feature)).toBe(false)
  })

  test('several request queues serve one disk', () => {
    const m = testMachine(new BlockDevice(new MemoryDisk(image()), { queues: 3 }), variant)
    expect([m.core.accepted(F.MQ), m.config(BlockConfig.offset.num_queues, 2)]).toEqual([true, 3])
    expect([0, 1, 2].map(queue => status(m.send(queue, header(IN, queue), [512, 1])))).toEqual([OK, OK, OK])
  })

  test('LIFETIME only where the backend gives figures', () => {
    const worn = Object.assign(new MemoryDisk(image()), { lifetime: () => ({ preEol: 1, typeA: 2, typeB: 3 }) })
    const sent = machine(worn).send(0, header(GET_LIFETIME), [6, 1])
    expect([...sent.input]).toEqual([1, 0, 2, 0, 3, 0, OK])
    expect(status(machine(new MemoryDisk(image())).send(0, header(GET_LIFETIME), [6, 1]))).toBe(UNSUPP)
  })

  test('R76: FLUSH is offered with CONFIG_WCE; without FLUSH negotiated writeback is 0; padding is 0', () => {
    const flushing = machine(new MemoryDisk(image()))
    expect(flushing.config(BlockConfig.offset.writeback, 1)).toBe(1)
    const refused = machine(new MemoryDisk(image()), { refuse: [F.FLUSH, 35, 38] })
    expect(refused.core.accepted(F.CONFIG_WCE)).toBe(true)
    expect(refused.config(BlockConfig.offset.writeback, 1)).toBe(0)
    expect(refused.config(BlockConfig.offset.unused0, 1)).toBe(0)
    const disk = new MemoryDisk(image())
    const none = machine(Object.assign(disk, { flush: undefined }) as unknown as BlockBackend)
    expect([none.core.accepted(F.FLUSH), none.core.accepted(F.CONFIG_WCE)]).toEqual([false, false])
  })

  test('R77: a write to a read-only disk is IOERR, and nothing is written', () => {
    const bytes = image()
    const disk = new MemoryDisk(bytes)
    const m = machine({ capacity: disk.capacity, read: (offset, target) => disk.read(offset, target) })
    expect(m.core.accepted(F.RO)).toBe(true)
    expect(status(m.send(0, [header(OUT, 0), sector(9)], 1))).toBe(IOERR)
    expect(status(m.send(0, [header(WRITE_ZEROES), range(0, 1)], 1))).toBe(IOERR)
    expect(same(bytes, image())).toBe(true)
  })

  test('R78: unknown flags, and a discard with UNMAP, are UNSUPP and touch nothing', () => {
    const bytes = image()
    const m = machine(new MemoryDisk(bytes))
    for (const [type, flags] of [
      [DISCARD, 1],
      [DISCARD, 2],
      [WRITE_ZEROES, 2],
      [WRITE_ZEROES, 0x80000001],
      [SECURE_ERASE, 1],
    ] as const)
      expect(status(m.send(0, [header(type), range(0, 8, 0), range(8, 8, flags)], 1))).toBe(UNSUPP)
    expect(same(bytes, image())).toBe(true)
  })

  test('R79: after WRITE_ZEROES the sectors are zeroes, with UNMAP and without', () => {
    const bytes = image()
    const m = machine(new MemoryDisk(bytes))
    expect(status(m.send(0, [header(WRITE_ZEROES), range(1, 2, 0), range(5, 1, 1)], 1))).toBe(OK)
    expect([0, 1, 2, 3, 4, 5, 6].map(at => bytes[at * 512])).toEqual([1, 0, 0, 4, 5, 0, 7])
  })

  test('R80: (a) a driver that took neither FLUSH nor CONFIG_WCE has every write committed first', async () => {
    const slow = new Slow()
    const m = machine(slow, { refuse: [F.FLUSH, F.CONFIG_WCE, 35, 38] })
    const sent = m.send(0, [header(OUT, 1), sector(9)], 1)
    slow.open[0]!.go()
    await new Promise(resolve => setTimeout(resolve))
    expect([sent.used, slow.log]).toEqual([false, ['write 1', 'flush']])
    slow.open[1]!.go()
    expect(status(await m.done(sent))).toBe(OK)
  })

  test('R80: (b) so has one that set writeback to 0, until it sets it to 1', async () => {
    const slow = new Slow()
    const m = machine(slow)
    m.setConfig(BlockConfig.offset.writeback, 1, 0)
    const through = m.send(0, [header(OUT, 1), sector(9)], 1)
    slow.open[0]!.go()
    await new Promise(resolve => setTimeout(resolve))
    expect([through.used, slow.log.at(-1)]).toEqual([false, 'flush'])
    slow.open[1]!.go(new BackendError('full'))
    expect(status(await m.done(through))).toBe(IOERR)
    m.setConfig(BlockConfig.offset.writeback, 1, 1)
    const back = m.send(0, [header(OUT, 1), sector(9)], 1)
    slow.open[2]!.go()
    expect(status(await m.done(back))).toBe(OK)
    expect(slow.log.length).toBe(3)
  })

  test('R80: (c) a FLUSH completes after the store has committed', async () => {
    const slow = new Slow()
    const m = machine(slow)
    const sent = m.send(0, header(FLUSH), 1)
    await new Promise(resolve => setTimeout(resolve))
    expect(sent.used).toBe(false)
    slow.open[0]!.go()
    expect(status(await m.done(sent))).toBe(OK)
  })

  test('R81: zone commands, SCSI commands and unknown types are UNSUPP', () => {
    const m = machine(new MemoryDisk(image()))
    for (const type of [2, 3, 5, 9, 12, 15, 16, 17, 18, 20, 22, 24, 26, 99, 0xffffffff])
      expect(status(m.send(0, header(type), [512, 1]))).toBe(UNSUPP)
  })

  test('R82: a disk that grows changes its capacity, and the driver is told', () => {
    const disk = new MemoryDisk(image())
    const m = machine(disk)
    disk.grow(2 * SECTORS * 512)
    m.poll()
    expect([m.configChanges, m.config(BlockConfig.offset.capacity, 4)]).toEqual([1, 2 * SECTORS])
    expect(status(m.send(0, header(IN, SECTORS), [512, 1]))).toBe(OK)
  })

  describe('hostile case 34', () => {
    test.each([
      ['data that is not whole sectors', IN, 0, 511],
      ['one sector past the end', IN, SECTORS, 512],
      ['the last sector and one more', IN, SECTORS - 1, 1024],
      ['a sector number that wraps', IN, 2 ** 55, 512],
      ['the largest sector number', IN, 2 ** 64 - 2048, 512],
    ])('%s: IOERR, and nothing is delivered', (_, type, at, length) => {
      const m = machine(new MemoryDisk(image()))
      const sent = m.send(0, header(type, at), [length, 1])
      expect([status(sent), sent.input.subarray(0, length).every(byte => byte === 0)]).toEqual([IOERR, true])
      expect(m.status & Status.NEEDS_RESET).toBe(0)
    })

    test('all of them for writes too: nothing is written', () => {
      const bytes = image()
      const m = machine(new MemoryDisk(bytes))
      for (const [at, length] of [
        [0, 511],
        [SECTORS, 512],
        [SECTORS - 1, 1024],
        [2 ** 55, 512],
        [2 ** 64 - 2048, 512],
      ] as const)
        expect(status(m.send(0, [header(OUT, at), new Uint8Array(length)], 1))).toBe(IOERR)
      expect(same(bytes, image())).toBe(true)
    })

    test.each([
      ['a header cut short', [header(IN).subarray(0, 8)], [512, 1]],
      ['no room for the status', [header(OUT), sector(1)], []],
      ['nothing but room', [], [512, 1]],
    ])('%s: NEEDS_RESET, and a reset helps', (_, out, room) => {
      const m = machine(new MemoryDisk(image()))
      const sent = m.send(0, out, room)
      expect([sent.used, m.core.status & Status.NEEDS_RESET]).toEqual([false, Status.NEEDS_RESET])
      m.restart()
      expect(status(m.send(0, header(IN), [512, 1]))).toBe(OK)
    })

    test('a short buffer for GET_ID gets what fits', () => {
      const sent = machine(new MemoryDisk(image(), 'abcdefghijkl')).send(0, header(GET_ID), [8, 1])
      expect([new TextDecoder().decode(sent.input.subarray(0, 8)), status(sent)]).toEqual(['abcdefgh', OK])
    })

    test('too many ranges, no range, half a range, a range past the end or one that overflows: IOERR', () => {
      const bytes = image()
      const m = machine(new MemoryDisk(bytes))
      const many = Array.from({ length: 65 }, () => range(0, 1))
      for (const type of [DISCARD, WRITE_ZEROES, SECURE_ERASE])
        for (const ranges of [
          many,
          [],
          [range(0, 1).subarray(0, 12)],
          [range(SECTORS, 1)],
          [range(0, SECTORS + 1)],
          [range(2 ** 64 - 2048, 0xffffffff)],
          [range(0, 0xffffffff)],
          [range(0, 1), range(SECTORS, 8)],
        ])
          expect(status(m.send(0, [header(type), concat(ranges)], 1))).toBe(IOERR)
      expect(same(bytes, image())).toBe(true)
    })

    test('a FLUSH with data, a read and a write of nothing, are answered', () => {
      const m = machine(new MemoryDisk(image()))
      expect(status(m.send(0, [header(FLUSH), sector(1)], 1))).toBe(OK)
      expect(status(m.send(0, header(IN), 1))).toBe(OK)
      expect(status(m.send(0, header(OUT), 1))).toBe(OK)
    })
  })
})

const concat = (parts: readonly Uint8Array[]) => new Uint8Array(Buffer.concat(parts))
