import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pack } from '../../cli/image.ts'
import { imageServer } from '../../test/disk/image-server.ts'
import { chunkPath, type Manifest } from '../../worker/backends/chunked-image.ts'
import type { BenchBrowser } from '../harness/browser.ts'
import { type Row, row } from '../harness/row.ts'
import type { Bench } from '../page/page.ts'

declare const bench: Bench

/** Milliseconds added to every request. */
const LATENCY = 40
const SIZE = 16 * 2 ** 20
const CHUNK = 256 * 1024

/** One request of the peer's: a whole file, or a range of one. */
interface Request {
  readonly url: string
  readonly range?: string
}

/** Reads images from end to end in the guest, each for the first time, and fetches the same one request after another. */
export async function* streaming(chromium: BenchBrowser, runs: number): AsyncIterable<Row> {
  const folder = mkdtempSync(join(tmpdir(), 'ringlet-stream-'))
  const server = await imageServer(folder)
  server.mischief = async (_, response) => {
    response.setHeader('access-control-allow-origin', '*')
    response.setHeader('access-control-expose-headers', 'content-range, etag')
    await new Promise(resolve => setTimeout(resolve, LATENCY))
    return false
  }
  try {
    for (const kind of ['raw', 'chunked'] as const) {
      const images: { url: string; requests: Request[] }[] = []
      for (let run = 0; run < runs; run++) images.push(await makeImage(kind, run, folder, server.url))
      const page = await chromium.page()
      const absolute = (name: string) => new URL(name, page.url()).href
      const guest = await page.evaluateHandle(machine => bench.ourDisks(machine), {
        ...{ memory: 128, kernel: absolute('guest/bzImage'), initrd: absolute('bench/initrd'), cmdline: 'quiet' },
        devices: [
          ...images.map(({ url }) => ({ type: 'block', image: url })),
          { type: 'console' },
          { type: 'entropy' },
        ],
      })
      const [ours, peer]: [number[], number[]] = [[], []]
      for (const [index, { requests }] of images.entries()) {
        process.stderr.write(`streaming, ${kind}: run ${index + 1} of ${runs}\n`)
        const disk = String.fromCharCode('a'.charCodeAt(0) + index)
        const command = `disk-load /dev/vd${disk} bufread ${2 ** 20} ${SIZE / 2 ** 20} 0`
        const said = await guest.evaluate((shell, command) => shell.run(command), command)
        ours.push(SIZE / Number(/in (\d+)/.exec(said)?.[1]))
        peer.push(SIZE / (await page.evaluate(oneAtATime, requests)) / 1000)
      }
      yield row({
        what: `${kind} image over HTTP with ${LATENCY} ms of latency, sequential, cold, against one request at a time`,
        ...{ unit: 'MB/s', ours, peer, target: { atLeast: 4 } },
      })
      await page.close()
    }
  } finally {
    await server.close()
    rmSync(folder, { recursive: true })
  }
}

async function makeImage(kind: 'raw' | 'chunked', run: number, folder: string, base: string) {
  const name = `${kind}-${run}`
  // Half of it can be compressed, and no two images have a chunk in common.
  const bytes = Buffer.concat(
    Array.from({ length: SIZE / 8192 }, () => Buffer.concat([randomBytes(4096), Buffer.alloc(4096, 1)])),
  )
  const file = join(folder, `${name}.img`)
  writeFileSync(file, bytes)
  if (kind === 'raw') {
    const url = `${base}/${name}.img`
    const requests = Array.from({ length: SIZE / CHUNK }, (_, i) => ({
      url,
      range: `bytes=${i * CHUNK}-${(i + 1) * CHUNK - 1}`,
    }))
    return { url, requests }
  }
  await pack(file, join(folder, name), { chunk: CHUNK / 1024, level: 1 })
  const { chunks }: Manifest = JSON.parse(readFileSync(join(folder, name, 'manifest.json'), 'utf8'))
  const requests = chunks.map(hash => ({ url: `${base}/${name}/${chunkPath(hash!)}` }))
  return { url: `${base}/${name}/manifest.json`, requests }
}

/** Milliseconds. Runs in the page. */
async function oneAtATime(requests: readonly Request[]) {
  const started = performance.now()
  for (const { url, range } of requests) {
    const response = await fetch(url, { cache: 'no-store', ...(range && { headers: { range } }) })
    await response.arrayBuffer()
  }
  return performance.now() - started
}
