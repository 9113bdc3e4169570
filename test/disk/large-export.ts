/** Exports a disk of 2 GiB, of which some is written, into nowhere: `large-export.ts raw|zst`. Says how much came, and the most memory it took. */

import { randomFillSync } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { syncFile } from '../../cli/files.ts'
import { exportImage } from '../../worker/backends/image-stream.ts'
import { OpfsStore } from '../../worker/backends/opfs.ts'
import { Overlay } from '../../worker/backends/overlay.ts'

const SIZE = 2 ** 31
const PIECE = 2 ** 20
const WRITTEN = 8 * PIECE

const folder = mkdtempSync(join(tmpdir(), 'ringlet-export-'))
try {
  const [data, a, b] = ['data', 'index-a', 'index-b'].map(name => syncFile(join(folder, name)))
  const disk = new Overlay(new OpfsStore({ data: data!, index: [a!, b!] }), undefined, { capacity: SIZE })
  for (let at = 0; at < WRITTEN; at += PIECE) disk.write((at * SIZE) / WRITTEN, randomFillSync(new Uint8Array(PIECE)))
  disk.flush()
  let bytes = 0
  for await (const piece of exportImage(disk, { compress: process.argv[2] === 'zst' })) bytes += piece.length
  await disk.close()
  console.log(JSON.stringify({ bytes, peak: process.resourceUsage().maxRSS * 1024 }))
} finally {
  rmSync(folder, { recursive: true })
}
