import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { Zstd } from '@hpcc-js/wasm-zstd'
import { cac } from 'cac'
import { BackendError } from '../src/virtio/machine.ts'
import {
  chunkPath,
  imageId,
  type Manifest,
  parseManifest,
  sha256,
  unpackChunk,
} from '../worker/backends/chunked-image.ts'
import { imageFormat, readImage } from '../worker/backends/image-file.ts'
import { isZero } from '../worker/backends/image-stream.ts'
import { imageFile } from './files.ts'
import { type RecordOptions, recordBoot } from './record-boot.ts'

const cli = cac('image')

cli
  .command(
    'pack <IMAGE> <OUT>',
    'Cuts a raw, raw.gz, raw.zst or qcow2 image into chunks that a browser can fetch one by one',
  )
  .option('--chunk <KIB>', 'Size of a chunk, a power of two', { default: 256 })
  .option('--level <N>', 'zstd level, 1 to 19', { default: 19 })
  .option('--prefetch <FILE>', 'JSON array of chunk numbers, as recorded from a boot')
  .action(async (image: string, out: string, options: { chunk: number; level: number; prefetch?: string }) => {
    const stats = await pack(image, out, options)
    console.log(stats)
  })

cli.command('verify <DIR>', 'Checks every chunk of a packed image against its manifest').action(async (dir: string) => {
  const { faults, chunks, id } = await verify(dir)
  for (const fault of faults) console.error(fault)
  if (faults.length > 0) throw new BackendError(`${faults.length} of ${chunks} chunks are bad`)
  console.log(`${chunks} chunks are good; the image is ${id}`)
})

cli
  .command('unpack <IMAGE> <OUT>', 'Makes a raw image out of raw.gz, raw.zst, qcow2 or a packed folder')
  .action(async (image: string, out: string) => console.log(`${await unpack(image, out)} bytes in ${out}`))

cli
  .command('prefetch <DIR> <FILE>', 'Puts a list of chunks, as recorded from a boot, into a manifest')
  .action((dir: string, file: string) =>
    putPrefetch(join(dir, 'manifest.json'), JSON.parse(readFileSync(file, 'utf8'))),
  )

cli
  .command('record <MACHINE>', 'Boots a machine description and puts the chunks it reads into its images’ manifests')
  .option('--until <REGEX>', 'The boot is over when its console ends like this', { default: 'login: $' })
  .option('--type <TEXT>', 'Then this line is typed')
  .option('--then <REGEX>', '… and it goes on until the console ends like this', { default: '[#$] $' })
  .action(async (machine: string, options: RecordOptions) => {
    for (const [manifest, chunks] of await recordBoot(machine, options)) {
      putPrefetch(manifest, chunks)
      console.log(`${chunks.length} chunks to prefetch in ${manifest}`)
    }
  })

function putPrefetch(path: string, prefetch: readonly number[]) {
  const manifest = parseManifest(path, readFileSync(path))
  writeFileSync(path, JSON.stringify({ ...manifest, prefetch }))
}

cli.help()

const MIB = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`

/** Packs an image into a folder; chunks that are there already are left alone. Returns what to say about it. */
export async function pack(
  image: string,
  out: string,
  options: { chunk?: number; level?: number; prefetch?: string } = {},
) {
  const { chunk = 256, level = 19, prefetch } = options
  const chunkSize = chunk * 1024
  const zstd = await Zstd.load()
  const file = imageFile(image)
  const chunks: (string | null)[] = []
  const seen = new Map<string, number>()
  let logical = 0
  const progress = ticker(`packing ${file.name} (${imageFormat(file)})`, file.size)

  const put = async (bytes: Uint8Array<ArrayBuffer>) => {
    if (isZero(bytes)) return void chunks.push(null)
    const hash = await sha256(bytes)
    chunks.push(hash)
    if (seen.has(hash)) return
    const path = join(out, chunkPath(hash))
    const packed = existsSync(path) ? readFileSync(path) : zstd.compress(bytes, Number(level))
    seen.set(hash, packed.length)
    logical += bytes.length
    if (existsSync(path)) return
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, packed)
  }

  // Chunks of zeroes that the image never mentions, and those before the piece at hand, are closed in passing.
  let current = new Uint8Array(chunkSize)
  let filled = 0
  const upTo = async (index: number) => {
    while (chunks.length < index) {
      if (filled === 0) chunks.push(null)
      else {
        await put(current)
        current = new Uint8Array(chunkSize)
        filled = 0
      }
    }
  }
  const pieces = readImage(file)
  let piece = await pieces.next()
  for (; !piece.done; piece = await pieces.next()) {
    const { offset, bytes, done } = piece.value
    for (let at = 0; at < bytes.length; ) {
      await upTo(Math.floor((offset + at) / chunkSize))
      const from = (offset + at) % chunkSize
      const length = Math.min(chunkSize - from, bytes.length - at)
      current.set(bytes.subarray(at, at + length), from)
      filled += length
      at += length
    }
    progress(done)
  }
  const size = Math.ceil(piece.value / 512) * 512
  const count = Math.ceil(size / chunkSize)
  if (filled > 0) {
    await upTo(count - 1)
    await put(current.slice(0, size - chunks.length * chunkSize))
  }
  await upTo(count)
  progress(file.size)
  file.close()
  const manifest: Manifest = { format: 'ringlet-chunks', version: 1, size, chunkSize, chunks }
  if (prefetch) manifest.prefetch = JSON.parse(readFileSync(prefetch, 'utf8'))
  mkdirSync(out, { recursive: true })
  writeFileSync(join(out, 'manifest.json'), JSON.stringify(manifest))
  const stored = [...seen.values()].reduce((a, b) => a + b, 0)
  const zeroes = chunks.filter(hash => hash === null).length
  return [
    `size        ${MIB(size)} in ${count} chunks of ${chunkSize / 1024} KiB`,
    `zeroes      ${zeroes} chunks (${((100 * zeroes) / count).toFixed(1)} %), never fetched`,
    `duplicates  ${count - zeroes - seen.size} chunks`,
    `stored      ${seen.size} chunks, ${MIB(stored)} (${(logical / Math.max(1, stored)).toFixed(2)} : 1)`,
    `image       ${await imageId(manifest)}`,
  ].join('\n')
}

/** Everything that is wrong with a packed image, one sentence each. */
export async function verify(dir: string) {
  const path = join(dir, 'manifest.json')
  if (!existsSync(path))
    throw new BackendError(`there is no ${path}: make one with "npm run -s image -- pack IMAGE ${dir}"`)
  const manifest = parseManifest(path, readFileSync(path))
  const faults: string[] = []
  const good = new Set<string | null>([null])
  const progress = ticker('verifying', manifest.chunks.length)
  for (const [index, hash] of manifest.chunks.entries()) {
    progress(index + 1)
    if (hash === null || good.has(hash)) continue
    const file = join(dir, chunkPath(hash))
    const length = Math.min(manifest.chunkSize, manifest.size - index * manifest.chunkSize)
    if (!existsSync(file)) faults.push(`chunk ${index}: ${file} is missing`)
    else if (!(await unpackChunk(readFileSync(file), length, hash)))
      faults.push(`chunk ${index}: ${file} is not what its name says`)
    else good.add(hash)
  }
  return { faults, chunks: manifest.chunks.length, id: await imageId(manifest) }
}

/** Writes an image as a raw file, with holes for zeroes. Returns its size in bytes. */
export async function unpack(image: string, out: string) {
  const to = openSync(out, 'w')
  try {
    if (existsSync(join(image, 'manifest.json'))) {
      const { chunks, chunkSize, size } = parseManifest(image, readFileSync(join(image, 'manifest.json')))
      const progress = ticker('unpacking', chunks.length)
      for (const [index, hash] of chunks.entries()) {
        progress(index + 1)
        if (hash === null) continue
        const length = Math.min(chunkSize, size - index * chunkSize)
        const bytes = await unpackChunk(readFileSync(join(image, chunkPath(hash))), length, hash)
        if (!bytes) throw new BackendError(`chunk ${index} is damaged: see "npm run -s image -- verify ${image}"`)
        writeSync(to, bytes, 0, bytes.length, index * chunkSize)
      }
      ftruncateSync(to, size)
      return size
    }
    const file = imageFile(image)
    const progress = ticker(`unpacking ${file.name}`, file.size)
    const pieces = readImage(file)
    let piece = await pieces.next()
    for (; !piece.done; piece = await pieces.next()) {
      const { offset, bytes, done } = piece.value
      if (!isZero(bytes)) writeSync(to, bytes, 0, bytes.length, offset)
      progress(done)
    }
    ftruncateSync(to, piece.value)
    file.close()
    return piece.value
  } finally {
    closeSync(to)
  }
}

/** Says how far it is, where somebody looks. */
function ticker(what: string, total: number) {
  let shown = -1
  return (done: number) => {
    const percent = Math.floor((100 * done) / Math.max(1, total))
    if (!process.stderr.isTTY || percent === shown) return
    shown = percent
    process.stderr.write(`\r${what}: ${percent} %${percent === 100 ? '\n' : ''}`)
  }
}

if (import.meta.filename === process.argv[1]) {
  try {
    cli.parse(process.argv, { run: false })
    if (!cli.matchedCommand && !cli.options['help']) cli.outputHelp()
    await cli.runMatchedCommand()
  } catch (error) {
    const known = error instanceof BackendError || (error as Error).name === 'CACError'
    console.error(known || (error as NodeJS.ErrnoException).code ? (error as Error).message : error)
    process.exitCode = 1
  }
}
