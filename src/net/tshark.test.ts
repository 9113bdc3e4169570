/** What an independent reader says of our captures, checksums and segments. */

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { tcpFrame } from '../../test/net/tcp-frame.ts'
import { onesSum } from './checksum.ts'
import { Coalescer } from './coalesce.ts'
import { capturedFrame, captureHeader } from './pcapng.ts'
import { cutSegments, finished, TCP } from './tcp.ts'

const there = spawnSync('tshark', ['--version']).status === 0
if (!there) console.warn('SKIPPED: what tshark says of our frames. Install it: apt-get install tshark')

const CHECKS = ['ip', 'tcp', 'udp'].flatMap(protocol => ['-o', `${protocol}.check_checksum:TRUE`])
const FIELDS = ['ip.checksum.status', 'tcp.checksum.status', 'frame.len', 'tcp.seq_raw', 'tcp.len', 'frame.time_epoch']
const ALSO = ['frame.packet_flags_direction', '_ws.malformed', '_ws.expert.message', 'tcp.analysis.flags']

/** One line a frame. */
function dissect(blocks: readonly Uint8Array[]) {
  const folder = mkdtempSync(join(tmpdir(), 'capture-'))
  try {
    const file = join(folder, 'frames.pcapng')
    writeFileSync(file, Buffer.concat(blocks))
    const fields = [...FIELDS, ...ALSO].flatMap(field => ['-e', field])
    const { stdout, stderr, status } = spawnSync('tshark', ['-r', file, ...CHECKS, '-T', 'fields', ...fields])
    const complaints = `${stderr}`.split('\n').filter(line => line && !/^Running as user/.test(line))
    expect([status, complaints]).toEqual([0, []])
    return `${stdout}`
      .trimEnd()
      .split('\n')
      .map(line => {
        const values = line.split('\t')
        return Object.fromEntries([...FIELDS, ...ALSO].map((field, i) => [field, values[i] ?? '']))
      })
  } finally {
    rmSync(folder, { recursive: true })
  }
}
const GOOD = '1'
const capture = (frames: readonly Uint8Array[]) => [
  ...captureHeader(['eth0']),
  ...frames.map((frame, i) => capturedFrame(frame, 1_700_000_000_000 + i / 4, i % 2 ? 'inbound' : 'outbound')),
]

test.skipIf(!there)(
  'tshark finds every segment and checksum right, and nothing to complain of',
  { timeout: 60_000 },
  () => {
    for (const version of [4, 6] as const) {
      const payload = Uint8Array.from({ length: 61_001 }, (_, i) => i * 31)
      const { frame, offload } = tcpFrame({ version, payload, sequence: 1000, flags: TCP.ACK | TCP.PSH })
      const segments = cutSegments(frame, { ...offload, segment: 1428 })!
      const lines = dissect(capture(segments))
      expect(lines.length).toBe(segments.length)
      lines.forEach((line, i) => {
        expect(line['tcp.checksum.status']).toBe(GOOD)
        if (version === 4) expect(line['ip.checksum.status']).toBe(GOOD)
        expect(line['tcp.seq_raw']).toBe(`${1000 + i * 1428}`)
        expect(line['_ws.malformed'] + line['tcp.analysis.flags']! + line['_ws.expert.message']).toBe('')
        expect(line['frame.time_epoch']).toBe(`${(1_700_000_000 + i / 4000).toFixed(6)}000`)
      })
      expect(lines.reduce((sum, line) => sum + Number(line['tcp.len']), 0)).toBe(payload.length)
    }
  },
)

test.skipIf(!there)('tshark finds a checksum wrong that is', { timeout: 60_000 }, () => {
  const { frame, offload } = tcpFrame({ payload: new Uint8Array(100) })
  const [whole] = finished(frame, offload)!
  const damaged = whole!.slice()
  damaged[80]! ^= 4
  expect(dissect(capture([whole!, damaged])).map(line => line['tcp.checksum.status'])).toEqual([GOOD, '0'])
})

test.skipIf(!there)('tshark finds a joined packet right once its checksum is made', { timeout: 60_000 }, () => {
  const payload = Uint8Array.from({ length: 30_000 }, (_, i) => i * 7)
  const { frame, offload } = tcpFrame({ payload })
  const coalescer = new Coalescer({ checksums: true, tcp4: true, tcp6: true })
  for (const segment of cutSegments(frame, { ...offload, segment: 1448 })!) coalescer.add(segment)
  const packet = coalescer.shift()!
  expect(coalescer.size).toBe(0)
  const { start, offset } = packet.offload!
  const [whole] = finished(Uint8Array.from(Buffer.concat(packet.parts)), { start, offset })!
  expect(onesSum(whole!, 14, 34)).toBe(0xffff)
  const [line] = dissect(capture([whole!]))
  expect([line!['ip.checksum.status'], line!['tcp.checksum.status'], line!['tcp.len']]).toEqual([GOOD, GOOD, '30000'])
})
