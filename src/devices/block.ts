import type { Chain } from '../virtio/chain.ts'
import type { DeviceSpec, Driver, VirtioDevice } from '../virtio/device.ts'
import { bytes, le16, le32, le64, struct, u8, writable } from '../virtio/layout.ts'
import { BackendError } from '../virtio/machine.ts'
import type { Virtqueue } from '../virtio/queue.ts'
import type { BlockBackend } from './block-backend.ts'

/** Units of capacity and of every request, whatever `blk_size` says (§5.2.4). */
const SECTOR = 512

export const BlockConfig = struct('virtio_blk_config', '5.2.4', {
  capacity: le64('in 512-byte sectors'),
  size_max: le32('bytes in the largest segment'),
  seg_max: le32('segments in a request'),
  cylinders: le16('geometry'),
  heads: u8('geometry'),
  sectors: u8('geometry'),
  blk_size: le32('logical block, in bytes'),
  physical_block_exp: u8('logical blocks per physical block, as a power of two'),
  alignment_offset: u8('of the first aligned logical block'),
  min_io_size: le16('suggested, in logical blocks'),
  opt_io_size: le32('suggested, in logical blocks'),
  writeback: writable(u8('cache mode', { WRITETHROUGH: 0, WRITEBACK: 1 })),
  unused0: u8(),
  num_queues: le16('request queues'),
  max_discard_sectors: le32(),
  max_discard_seg: le32(),
  discard_sector_alignment: le32(),
  max_write_zeroes_sectors: le32(),
  max_write_zeroes_seg: le32(),
  write_zeroes_may_unmap: u8('whether UNMAP may give storage back'),
  unused1: bytes(3),
  max_secure_erase_sectors: le32(),
  max_secure_erase_seg: le32(),
  secure_erase_sector_alignment: le32(),
})

export const BlockRequest = struct('virtio_blk_req', '5.2.6', {
  type: le32('what to do', {
    IN: 0,
    OUT: 1,
    FLUSH: 4,
    GET_ID: 8,
    GET_LIFETIME: 10,
    DISCARD: 11,
    WRITE_ZEROES: 13,
    SECURE_ERASE: 14,
  }),
  reserved: le32(),
  sector: le64('first 512-byte sector'),
})
const Type = BlockRequest.fields.type.bits

export const BlockRange = struct('virtio_blk_discard_write_zeroes', '5.2.6', {
  sector: le64(),
  num_sectors: le32(),
  flags: le32('', { UNMAP: 1 }),
})

export const BlockLifetime = struct('virtio_blk_lifetime', '5.2.6', {
  pre_eol_info: le16('spare blocks used up', { UNDEFINED: 0, NORMAL: 1, WARNING: 2, URGENT: 3 }),
  device_lifetime_est_typ_a: le16('wear, in tenths'),
  device_lifetime_est_typ_b: le16('wear, in tenths'),
})

/** The last byte of every request. */
export const BlockStatus = { OK: 0, IOERR: 1, UNSUPP: 2 } as const
const { OK, IOERR, UNSUPP } = BlockStatus
const statusBytes = [OK, IOERR, UNSUPP].map(status => Uint8Array.of(status))

export const Block = {
  id: 2,
  name: 'block',
  section: '5.2',
  queues: ['requestq'],
  features: {
    SIZE_MAX: 1,
    SEG_MAX: 2,
    GEOMETRY: 4,
    RO: 5,
    BLK_SIZE: 6,
    FLUSH: 9,
    TOPOLOGY: 10,
    CONFIG_WCE: 11,
    MQ: 12,
    DISCARD: 13,
    WRITE_ZEROES: 14,
    LIFETIME: 15,
    SECURE_ERASE: 16,
  },
  config: BlockConfig,
} as const satisfies DeviceSpec
const Feature = Block.features

/** Bytes of GET_ID's answer. */
const ID_LENGTH = 20
/** In one DISCARD, WRITE_ZEROES or SECURE_ERASE; all of it may be answered at once. */
const MAX_RANGES = 64
const MAX_RANGE_SECTORS = 2 ** 22
const QUEUE_SIZE = 256

export interface BlockOptions {
  /** Request queues: 1 if absent. */
  readonly queues?: number
  /** Descriptors in each: 256 if absent. */
  readonly queueSize?: number
}

/** virtio-blk. Requests run concurrently and may finish in any order; those a store answers at once finish within the kick. */
export class BlockDevice implements VirtioDevice {
  readonly spec = Block
  readonly queueSize: number
  readonly queues: readonly string[]
  readonly offers: readonly number[]
  readonly config = BlockConfig.bytes()
  configChanged?: () => void
  private readonly fields = new BlockConfig(new DataView(this.config.buffer))
  /** What is committed before a write completes (§5.2.6.2). */
  private writethrough = false
  private driver: Driver | undefined

  constructor(
    private readonly backend: BlockBackend,
    { queues = 1, queueSize = QUEUE_SIZE }: BlockOptions = {},
  ) {
    this.queueSize = queueSize
    const { write, flush, discard, writeZeroes, secureErase, lifetime } = backend
    this.queues = Array.from({ length: queues }, (_, i) => (queues === 1 ? 'requestq' : `requestq${i}`))
    this.offers = [
      ...[Feature.SIZE_MAX, Feature.SEG_MAX, Feature.GEOMETRY, Feature.BLK_SIZE, Feature.TOPOLOGY],
      ...(write ? [] : [Feature.RO]),
      ...(flush ? [Feature.FLUSH, Feature.CONFIG_WCE] : []),
      ...(queues > 1 ? [Feature.MQ] : []),
      ...(write && discard ? [Feature.DISCARD] : []),
      ...(write && writeZeroes ? [Feature.WRITE_ZEROES] : []),
      ...(write && secureErase ? [Feature.SECURE_ERASE] : []),
      ...(lifetime ? [Feature.LIFETIME] : []),
    ]
    const grain = (backend.blockSize ?? SECTOR) / SECTOR
    Object.assign(this.fields, {
      size_max: 2 ** 22,
      seg_max: Math.max(1, queueSize - 2), // the header and the status take a descriptor each
      heads: 16,
      sectors: 63,
      blk_size: SECTOR,
      physical_block_exp: Math.log2(grain),
      min_io_size: grain,
      opt_io_size: 1024, // Linux reads ahead twice as much
      num_queues: queues,
      max_discard_sectors: MAX_RANGE_SECTORS,
      max_discard_seg: MAX_RANGES,
      discard_sector_alignment: grain,
      max_write_zeroes_sectors: MAX_RANGE_SECTORS,
      max_write_zeroes_seg: MAX_RANGES,
      write_zeroes_may_unmap: 1,
      max_secure_erase_sectors: MAX_RANGE_SECTORS,
      max_secure_erase_seg: MAX_RANGES,
      secure_erase_sector_alignment: grain,
    })
    this.measure()
    this.reset()
    backend.onResize = () => {
      this.measure()
      this.configChanged?.()
    }
  }

  activate(driver: Driver) {
    this.driver = driver
    const { fields } = this
    // A driver that will not flush is promised that completed writes last; with CONFIG_WCE it chooses (§5.2.5.2).
    if (!driver.accepted(Feature.FLUSH)) fields.writeback = 0
    else if (!driver.accepted(Feature.CONFIG_WCE)) fields.writeback = 1
    this.writethrough = this.backend.flush !== undefined && fields.writeback === 0
  }

  configWritten() {
    const { fields, backend, driver } = this
    // What a legacy driver writes before DRIVER_OK counts from then on (§5.2.5.3).
    if (driver && !driver.accepted(Feature.CONFIG_WCE)) fields.writeback = this.writethrough || !backend.flush ? 0 : 1
    else fields.writeback = fields.writeback && backend.flush ? 1 : 0
    if (driver) this.writethrough = backend.flush !== undefined && fields.writeback === 0
  }

  reset() {
    this.driver = undefined
    this.writethrough = false
    this.fields.writeback = this.backend.flush ? 1 : 0
  }

  kick(queue: Virtqueue): void | Promise<unknown> {
    const pending: Promise<void>[] = []
    for (const chain of queue) {
      const wait = this.serve(queue, chain)
      if (wait) pending.push(wait)
    }
    if (pending.length > 0) return Promise.all(pending)
  }

  private measure() {
    const sectors = Math.floor(this.backend.capacity / SECTOR)
    this.fields.capacity = sectors
    this.fields.cylinders = Math.min(0xffff, Math.floor(sectors / (16 * 63)))
  }

  private serve(queue: Virtqueue, chain: Chain): void | Promise<void> {
    // Both are refused before anything is done, as there is nothing to answer with (§5.2.6).
    const request = chain.reader.struct(BlockRequest)
    if (chain.writer.length === 0) chain.writer.skip(1)
    let status: number | Promise<number>
    try {
      status = this.perform(queue, chain, request.type, request.sector)
    } catch (error) {
      status = failure(error)
    }
    if (typeof status === 'number') return this.finish(chain, status)
    return status.catch(failure).then(status => {
      if (chain.session === queue.session) this.finish(chain, status)
    })
  }

  private finish(chain: Chain, status: number) {
    const { writer } = chain
    const last = writer.length - 1 // §5.2.6: the status is the last byte, whatever is before it
    if (writer.at !== last) writer.seek(last)
    writer.bytes(statusBytes[status]!)
    chain.complete()
  }

  private perform(queue: Virtqueue, chain: Chain, type: number, sector: number): number | Promise<number> {
    const { backend } = this
    switch (type) {
      case Type.IN:
        return this.read(queue, chain, sector)
      case Type.OUT:
        return this.write(chain, sector)
      case Type.FLUSH:
        return backend.flush ? after(backend.flush()) : UNSUPP
      case Type.GET_ID:
        return this.identify(chain)
      case Type.GET_LIFETIME:
        return this.wear(chain)
      case Type.DISCARD:
        return this.ranges(chain, Feature.DISCARD, 0, (offset, length) => backend.discard!(offset, length))
      case Type.WRITE_ZEROES: {
        const { UNMAP } = BlockRange.fields.flags.bits
        return this.ranges(chain, Feature.WRITE_ZEROES, UNMAP, (offset, length, flags) =>
          backend.writeZeroes!(offset, length, (flags & UNMAP) !== 0),
        )
      }
      case Type.SECURE_ERASE:
        return this.ranges(chain, Feature.SECURE_ERASE, 0, (offset, length) => backend.secureErase!(offset, length))
      default:
        return UNSUPP
    }
  }

  /** Whether these bytes are whole sectors of the disk. Any number may be asked for. */
  private has(sector: number, length: number) {
    return length % SECTOR === 0 && sector * SECTOR + length <= this.backend.capacity
  }

  private read(queue: Virtqueue, chain: Chain, sector: number): number | Promise<number> {
    const { backend } = this
    const { writer } = chain
    const length = writer.length - 1
    if (!this.has(sector, length)) return IOERR
    let at = sector * SECTOR
    let direct = backend.async !== true || backend.readNow !== undefined
    if (direct)
      writer.pieces(length, piece => {
        if (direct && piece.length % SECTOR !== 0) direct = false
        if (!direct) return
        if (backend.async) direct = backend.readNow!(at, piece)
        else backend.read(at, piece)
        at += piece.length
      })
    if (direct) return OK
    // The store needs time, or the driver cut the buffers within sectors (§2.7.4 lets it): by way of a buffer of our own.
    writer.seek(0)
    chain.written = 0
    const buffer = new Uint8Array(length)
    const deliver = () => {
      if (chain.session === queue.session) writer.bytes(buffer)
      return OK
    }
    const wait = backend.read(sector * SECTOR, buffer)
    return wait ? wait.then(deliver) : deliver()
  }

  private write(chain: Chain, sector: number): number | Promise<number> {
    const { backend } = this
    const { reader } = chain
    const length = reader.left
    if (!backend.write || !this.has(sector, length)) return IOERR
    // Straight out of guest RAM, as long as the pieces are whole blocks of the store; what is left goes as one.
    const grain = backend.blockSize ?? SECTOR
    const start = reader.at
    let at = sector * SECTOR
    let done = 0
    let direct = true
    const waits = new Waits()
    reader.pieces(length, piece => {
      if (at % grain !== 0 || piece.length % grain !== 0) direct = false
      if (!direct) return
      waits.begin(() => backend.write!(at, piece))
      at += piece.length
      done += piece.length
    })
    reader.seek(start + done)
    if (done < length) waits.begin(() => backend.write!(at, reader.bytes()))
    return waits.end(() => this.stable())
  }

  private identify({ writer }: Chain) {
    const id = new Uint8Array(Math.min(ID_LENGTH, writer.length - 1))
    const serial = this.backend.serial ?? ''
    for (let i = 0; i < id.length && i < serial.length; i++) id[i] = serial.charCodeAt(i)
    writer.bytes(id)
    return OK
  }

  private wear({ writer }: Chain) {
    const figures = this.backend.lifetime?.()
    if (!figures) return UNSUPP
    if (writer.length - 1 < BlockLifetime.size) return IOERR
    writer.struct(BlockLifetime, {
      pre_eol_info: figures.preEol,
      device_lifetime_est_typ_a: figures.typeA,
      device_lifetime_est_typ_b: figures.typeB,
    })
    return OK
  }

  /** DISCARD, WRITE_ZEROES, SECURE_ERASE: a list of ranges, refused as a whole before any is touched. */
  private ranges(
    { reader }: Chain,
    feature: number,
    flags: number,
    work: (offset: number, length: number, flags: number) => void | Promise<void>,
  ): number | Promise<number> {
    if (!this.offers.includes(feature)) return this.backend.write ? UNSUPP : IOERR
    const count = reader.left / BlockRange.size
    if (!Number.isInteger(count) || count < 1 || count > MAX_RANGES) return IOERR
    const ranges = Array.from({ length: count }, () => reader.struct(BlockRange))
    if (ranges.some(range => range.flags & ~flags)) return UNSUPP
    const fits = ranges.every(
      ({ sector, num_sectors }) => num_sectors <= MAX_RANGE_SECTORS && this.has(sector, num_sectors * SECTOR),
    )
    if (!fits) return IOERR
    const waits = new Waits()
    for (const { sector, num_sectors, flags } of ranges)
      if (num_sectors > 0) waits.begin(() => work(sector * SECTOR, num_sectors * SECTOR, flags))
    return waits.end(() => this.stable())
  }

  /** After a write: commits it, if the driver was promised that completed writes last. */
  private stable() {
    return this.writethrough ? after(this.backend.flush!()) : OK
  }
}

/** The parts of one request. It fails with the first of them that failed, once none is under way any more. */
class Waits {
  private readonly pending: Promise<void>[] = []
  private readonly failures: unknown[] = []

  begin(part: () => void | Promise<void>) {
    try {
      const wait = part()
      if (wait) this.pending.push(wait.catch(error => void this.failures.push(error)))
    } catch (error) {
      this.failures.push(error)
    }
  }

  end(then: () => number | Promise<number>): number | Promise<number> {
    const settle = () => {
      if (this.failures.length > 0) throw this.failures[0]
      return then()
    }
    return this.pending.length > 0 ? Promise.all(this.pending).then(settle) : settle()
  }
}

const after = (wait: void | Promise<void>): number | Promise<number> => (wait ? wait.then(() => OK) : OK)

/** What the driver is told of a failed store; anything else that fails is our bug, and stays loud. */
function failure(error: unknown) {
  if (error instanceof BackendError) return IOERR
  throw error
}
