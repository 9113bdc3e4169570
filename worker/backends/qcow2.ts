import { inflateSync } from 'fflate'
import { ZSTDDecoder } from 'zstddec/stream'
import { be32, be64, struct, u8 } from '../../src/virtio/layout.ts'
import { BackendError } from '../../src/virtio/machine.ts'
import type { ImageFile, ImagePiece } from './image-file.ts'
import { zstdFrame } from './zstd-frame.ts'

/** QEMU's docs/interop/qcow2.txt. Everything is big-endian. */
const Header = struct('QCowHeader', 'qcow2.txt', {
  magic: be32(),
  version: be32(),
  backing_file_offset: be64(),
  backing_file_size: be32(),
  cluster_bits: be32(),
  size: be64('in bytes'),
  crypt_method: be32(),
  l1_size: be32('entries'),
  l1_table_offset: be64(),
  refcount_table_offset: be64(),
  refcount_table_clusters: be32(),
  nb_snapshots: be32(),
  snapshots_offset: be64(),
})
/** Version 3 goes on with these. */
const Features = struct('QCowHeader (version 3)', 'qcow2.txt', {
  incompatible_hi: be32(),
  incompatible: be32('', { DIRTY: 1, CORRUPT: 2, DATA_FILE: 4, COMPRESSION: 8, EXTENDED_L2: 16 }),
})
/** Where version 3 says how clusters are compressed, if the bit COMPRESSION says that it does. */
const COMPRESSION_TYPE = 104
const CompressionType = struct('QCowHeader (compression)', 'qcow2.txt', { type: u8('', { ZLIB: 0, ZSTD: 1 }) })
const { ZLIB, ZSTD } = CompressionType.fields.type.bits
const { CORRUPT, DATA_FILE, COMPRESSION, EXTENDED_L2 } = Features.fields.incompatible.bits
/** Bits of a table's entry that are an offset. */
const OFFSET = 0x00fffffffffffe00n
const COMPRESSED = 1n << 62n
const ZERO = 1n

/** The cluster that `packed` begins with; what follows it belongs to others. */
type Unpack = (packed: Uint8Array, cluster: number) => Uint8Array

async function unzstd(): Promise<Unpack> {
  const zstd = new ZSTDDecoder()
  await zstd.init()
  return (packed, cluster) => zstd.decode(zstdFrame(packed) ?? new Uint8Array(), cluster)
}
const inflate: Unpack = (packed, cluster) => inflateSync(packed, { out: new Uint8Array(cluster) })

/** Opens a qcow2 image, version 2 or 3, for reading. Fails with `BackendError`. */
export async function openQcow2(file: ImageFile) {
  const fail = (what: string) => new BackendError(`${file.name}: ${what}`)
  const read = (from: number, length: number) => {
    const bytes = file.read(from, Math.min(file.size, from + length))
    if (bytes.length !== length) throw fail('the image is cut short')
    return bytes
  }
  const words = (offset: number, count: number) => {
    const bytes = read(offset, count * 8)
    const view = new DataView(bytes.buffer, bytes.byteOffset)
    return Array.from({ length: count }, (_, i) => view.getBigUint64(i * 8))
  }

  const head = read(0, Header.size)
  const header = new Header(new DataView(head.buffer))
  const { version, cluster_bits, size, l1_size } = header
  if (version !== 2 && version !== 3) throw fail(`qcow2 version ${version} is not known: only 2 and 3 are`)
  if (header.backing_file_offset !== 0)
    throw fail('it is only a difference to another image: make it whole with "qemu-img convert -O qcow2"')
  if (header.crypt_method !== 0) throw fail('it is encrypted: decrypt it with "qemu-img convert"')
  if (cluster_bits < 9 || cluster_bits > 21) throw fail(`clusters of 2^${cluster_bits} bytes cannot be`)
  let unpack = inflate
  if (version === 3) {
    const { incompatible, incompatible_hi } = new Features(new DataView(read(Header.size, Features.size).buffer))
    if (incompatible & CORRUPT) throw fail('it is marked as corrupt: repair it with "qemu-img check -r all"')
    if (incompatible & DATA_FILE) throw fail('its data is in another file: make it whole with "qemu-img convert"')
    if (incompatible & COMPRESSION) {
      const { type } = new CompressionType(new DataView(read(COMPRESSION_TYPE, CompressionType.size).buffer))
      if (type === ZSTD) unpack = await unzstd()
      else if (type !== ZLIB)
        throw fail('it is compressed in a way that is not known here: convert it with "qemu-img convert -O qcow2"')
    }
    if (incompatible & EXTENDED_L2 || incompatible_hi || incompatible & ~31)
      throw fail('it uses features that are not known here: convert it with "qemu-img convert -O raw"')
  }
  const cluster = 2 ** cluster_bits
  const perTable = cluster / 8
  const tables = Math.ceil(size / cluster / perTable)
  if (size === 0 || l1_size < tables || tables > 2 ** 22) throw fail('its tables do not fit its size')

  const compressed = (entry: bigint) => {
    // How many bits are the offset depends on the cluster size; the rest counts further 512-byte sectors.
    const bits = BigInt(62 - (cluster_bits - 8))
    const offset = Number(entry & ((1n << bits) - 1n))
    const sectors = Number((entry & (COMPRESSED - 1n)) >> bits) + 1
    const packed = read(offset, Math.min(sectors * 512 - (offset % 512), file.size - offset))
    try {
      const bytes = unpack(packed, cluster)
      if (bytes.length === cluster) return bytes
    } catch (cause) {
      throw new BackendError(`${file.name}: a compressed cluster at ${offset} is damaged`, { cause })
    }
    throw fail(`a compressed cluster at ${offset} is cut short`)
  }

  function* pieces(): Generator<ImagePiece> {
    let done = 0
    const l1 = words(header.l1_table_offset, tables)
    for (let i = 0; i < tables; i++) {
      const table = Number(l1[i]! & OFFSET)
      if (table === 0) continue
      for (const [j, entry] of words(table, perTable).entries()) {
        const offset = (i * perTable + j) * cluster
        if (offset >= size) break
        const at = Number(entry & OFFSET)
        let bytes: Uint8Array
        if (entry & COMPRESSED) bytes = compressed(entry)
        else if (at === 0 || (version === 3 && entry & ZERO)) continue
        // The last cluster of an image may end with the file.
        else bytes = read(at, Math.min(cluster, file.size - at, size - offset))
        done = Math.min(file.size, done + bytes.length)
        yield { offset, bytes: bytes.subarray(0, size - offset), done }
      }
    }
  }
  return { size, pieces }
}
