import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { bootToPrompt } from './boot.ts'

const DEFAULT = new URL('../../public/machines/default.json', import.meta.url)
const [INDIRECT_DESC, EVENT_IDX, VERSION_1, RING_PACKED] = [28, 29, 32, 34]

/** The default machine, its devices without these features. */
function masked(mask: readonly string[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'ringlet-rings-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const document = JSON.parse(readFileSync(DEFAULT, 'utf8')) as { kernel: unknown; initrd: unknown }
  const absolute = (source: unknown): unknown =>
    typeof source === 'string'
      ? new URL(source, DEFAULT).href
      : { ...(source as object), url: new URL((source as { url: string }).url, DEFAULT).href }
  const file = join(folder, 'machine.json')
  const devices = [
    { type: 'console', features: { mask } },
    { type: 'entropy', features: { mask } },
  ]
  const { kernel, initrd } = document
  const rest = { ...document, kernel: absolute(kernel), ...(initrd !== undefined && { initrd: absolute(initrd) }) }
  writeFileSync(file, JSON.stringify({ ...rest, devices }))
  return file
}

const cases = (['mmio', 'pci'] as const).flatMap(transport =>
  [
    { without: 'nothing', mask: [], bits: [] },
    { without: 'INDIRECT_DESC', mask: ['VIRTIO_RING_F_INDIRECT_DESC'], bits: [INDIRECT_DESC] },
    { without: 'EVENT_IDX', mask: ['VIRTIO_RING_F_EVENT_IDX'], bits: [EVENT_IDX] },
    { without: 'packed rings', mask: ['VIRTIO_F_RING_PACKED'], bits: [RING_PACKED] },
  ].map(one => ({ transport, ...one })),
)

test.each(cases)(
  'on $transport, without $without, the driver adapts and the console works',
  async ({ transport, mask, bits }) => {
    const guest = await bootToPrompt({ machine: masked(mask), transport })
    expect(await guest.console.run('echo typed $((6 * 7))')).toBe('typed 42\n')
    const features = (await guest.console.run('cat /sys/bus/virtio/devices/*/features')).trim().split('\n')
    expect(features.length).toBe(2)
    for (const line of features)
      for (const bit of [INDIRECT_DESC, EVENT_IDX, VERSION_1, RING_PACKED])
        expect(`${bit}: ${line[bit]}`).toBe(`${bit}: ${bits.includes(bit) ? 0 : 1}`)
    expect(await guest.console.run('head -c 1000 /dev/hwrng | wc -c')).toMatch(/^\s*1000\n$/)
    // More than one ring full, both ways.
    expect(await guest.console.run('seq 1 2000 | tail -n 1')).toBe('2000\n')
    expect(guest.problems).toEqual([])
  },
)
