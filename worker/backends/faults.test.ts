/** The whole way from the guest's request to the medium, over media that fail. */

import 'fake-indexeddb/auto'
import fc from 'fast-check'
import { afterEach, expect, test, vi } from 'vitest'
import { BlockDevice, BlockRange, BlockRequest, BlockStatus } from '../../src/devices/block.ts'
import { type BlockBackend, MemoryDisk } from '../../src/devices/block-backend.ts'
import { type TestMachine, testMachine } from '../../src/driver/testing.ts'
import { BackendError } from '../../src/virtio/machine.ts'
import { type Fate, faultyFiles, faultyIndexedDb } from '../../test/disk/faulty-media.ts'
import { History } from '../../test/disk/history.ts'
import { files, type UnreliableFiles } from '../../test/disk/unreliable-file.ts'
import { BlockState, type BlockStore } from './block-store.ts'
import { IndexedDbStore } from './indexeddb.ts'
import { OpfsStore } from './opfs.ts'
import { Overlay } from './overlay.ts'
import { patient } from './patience.ts'

const SECTORS = 83 // ten blocks and a bit
const pattern = (length: number, seed: number) =>
  Uint8Array.from({ length }, (_, i) => (i * 7 + seed + (i >> 9) * 3) & 0xff)
const IMAGE = pattern(SECTORS * 512, 1)

interface Medium {
  open(): Promise<BlockStore>
  /** From now on calls into the medium fare as told. */
  break(fate: () => Fate): void
  mend(): void
}

let databases = 0
const media: Record<'opfs' | 'indexeddb', () => Medium> = {
  opfs() {
    const under: UnreliableFiles = files()
    let fate: () => Fate = () => 'well'
    return {
      open: async () => new OpfsStore(faultyFiles(under, () => fate())),
      break: now => void (fate = now),
      mend: () => void (fate = () => 'well'),
    }
  },
  indexeddb() {
    const name = `faults-${++databases}`
    return {
      open: () => IndexedDbStore.open(name, { gather: 6, limit: 12, idle: 0 }),
      break: fate => faultyIndexedDb(fate),
      mend: () => void vi.restoreAllMocks(),
    }
  },
}
afterEach(() => void vi.restoreAllMocks())

/** An image over a network that is slow, and fails at times. */
class FarImage implements BlockBackend {
  readonly async = true
  readonly capacity = IMAGE.length
  constructor(private readonly chance: (of: number) => number) {}
  async read(offset: number, target: Uint8Array) {
    for (let turns = this.chance(7); turns > 0; turns--) await Promise.resolve()
    if (this.chance(10) === 0) throw new BackendError('the network failed')
    target.set(IMAGE.subarray(offset, offset + target.length))
  }
}

const work = fc.array(
  fc
    .record({
      from: fc.nat(SECTORS - 1),
      count: fc.integer({ min: 1, max: 30 }),
      seed: fc.nat(255),
      wait: fc.boolean(),
    })
    .chain(at =>
      fc.constantFrom('read', 'read', 'write', 'write', 'zero', 'discard', 'flush').map(what => ({
        ...{ what, seed: at.seed, wait: at.wait, sector: at.from },
        bytes: Math.min(at.count, SECTORS - at.from) * 512,
      })),
    ),
  { minLength: 5, maxLength: 40 },
)
type Request = { what: string; sector: number; bytes: number; seed: number }

const { IN, OUT, FLUSH, DISCARD, WRITE_ZEROES } = BlockRequest.fields.type.bits

/** Sends a request through the device, and holds the answer against the model. Returns what is wrong. */
async function ask(machine: TestMachine, history: History, { what, sector, bytes, seed }: Request): Promise<string[]> {
  const length = what === 'flush' ? 0 : bytes
  const data = what === 'write' ? pattern(length, seed) : new Uint8Array(length)
  const request = history.begin(what, sector * 512, data)
  const type = { read: IN, write: OUT, zero: WRITE_ZEROES, discard: DISCARD, flush: FLUSH }[what]!
  const header = BlockRequest.bytes({ type, sector: what === 'flush' ? 0 : sector })
  const range = BlockRange.bytes({ sector, num_sectors: length / 512 })
  const out = what === 'write' ? [header, data] : what === 'zero' || what === 'discard' ? [header, range] : [header]
  const sent = machine.send(0, out, what === 'read' ? [length, 1] : [1])
  for (let turn = 0; !sent.used; turn++) {
    if (turn === 5000) return [`${what} was never answered`]
    await new Promise(resolve => setImmediate(resolve))
  }
  const status = sent.input.at(-1)
  if (status === BlockStatus.IOERR) {
    request.failed()
    return []
  }
  if (status !== BlockStatus.OK) return [`${what} was answered with status ${status}`]
  data.set(what === 'read' ? sent.input.subarray(0, length) : data)
  return request.done()
}

// A request that throws while its transaction is being filled must not leave half of it to be committed.
test('indexeddb: a transaction that cannot be filled is not committed in part', async () => {
  const medium = media.indexeddb()
  const store = await medium.open()
  store.write(9, pattern(4096, 1))
  await store.flush()
  store.mark(9, 1, BlockState.ZERO)
  let calls = 0
  medium.break(() => (++calls === 3 ? 'full' : 'well')) // the transaction, the block deleted, and no room to say it is zeroes
  await expect(async () => store.flush()).rejects.toThrow(BackendError)
  for (let turn = 0; turn < 5; turn++) await new Promise(resolve => setImmediate(resolve))
  medium.mend()
  expect((await medium.open()).state(9)).toBe(BlockState.DATA)
  await store.flush()
  expect((await medium.open()).state(9)).toBe(BlockState.ZERO)
})

test.each(['opfs', 'indexeddb'] as const)(
  '%s: full, somebody is asked; given up it is IOERR, tried again it is there',
  async kind => {
    const medium = media[kind]()
    const answers: ('retry' | 'give up')[] = ['retry', 'give up', 'give up']
    const disk = patient(new Overlay(await medium.open(), undefined, { capacity: IMAGE.length }), async reason => {
      expect(reason).toMatch(/no room left/)
      if (giveUp) return answers.shift() ?? 'give up'
      medium.mend()
      return 'retry'
    })
    let giveUp = true
    const machine = testMachine(new BlockDevice(disk), { transport: 'mmio' })
    const send = async (type: number, data: Uint8Array[] = []) => {
      const sent = machine.send(0, [BlockRequest.bytes({ type, sector: 8 }), ...data], [1])
      while (!sent.used) await new Promise(resolve => setImmediate(resolve))
      return sent.input.at(-1)
    }
    medium.break(() => 'full')
    const both = async () => [await send(OUT, [pattern(4096, 5)]), await send(FLUSH)]
    expect(await both()).toContain(BlockStatus.IOERR)
    giveUp = false
    expect(await both()).toEqual([BlockStatus.OK, BlockStatus.OK])
    const found = new Uint8Array(4096)
    await (await medium.open()).read(4096, found)
    expect(found).toEqual(pattern(4096, 5))
  },
)

for (const kind of ['opfs', 'indexeddb'] as const)
  test(`${kind}: over media that fail, fill up, and lose their connection, reads equal the model or are IOERR; what was flushed is there`, async () => {
    let [errors, answers] = [0, 0]
    await fc.assert(
      fc.asyncProperty(work, fc.nat(), fc.integer({ min: 4, max: 40 }), async (requests, luck, rate) => {
        const chance = (of: number) => {
          luck = (Math.imul(luck, 1103515245) + 12345) >>> 0
          return (luck >>> 16) % of
        }
        const fates = ['full', 'fails', 'short', 'disconnected'] as const
        const medium = media[kind]()
        const disk = new Overlay(await medium.open(), new FarImage(chance))
        const machine = testMachine(new BlockDevice(disk), { transport: 'pci', packed: true })
        const history = new History(IMAGE)
        medium.break(() => (chance(rate) === 0 ? fates[chance(fates.length)]! : 'well'))
        const faults: string[] = []
        let under: Promise<void>[] = []
        for (const request of requests) {
          under.push(ask(machine, history, request).then(found => void faults.push(...found)))
          if (request.wait) await Promise.all(under.splice(0))
        }
        await Promise.all(under)
        under = []
        expect(faults).toEqual([])
        // The process goes as it is, without a last flush; the medium is in order again.
        medium.mend()
        const after = new Overlay(await medium.open(), new MemoryDisk(IMAGE.slice()))
        const found = new Uint8Array(IMAGE.length)
        await after.read(0, found)
        expect(history.afterCrash(found)).toEqual([])
        errors += history.failures
        answers += history.successes
      }),
      { numRuns: 50, endOnFailure: true },
    )
    // It was a test of failures, and of what does not fail.
    expect(errors).toBeGreaterThan(20)
    expect(answers).toBeGreaterThan(errors)
  })
