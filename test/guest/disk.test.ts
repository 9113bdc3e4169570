import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { bootToPrompt } from './boot.ts'

test.each(['mmio', 'pci', 'pci-legacy'] as const)(
  'R82: a disk that grows while the guest runs grows for the guest, on %s',
  async transport => {
    const folder = mkdtempSync(join(tmpdir(), 'ringlet-disk-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const image = join(folder, 'disk.img')
    writeFileSync(image, new Uint8Array(8 << 20))
    const { console } = await bootToPrompt({ transport, disks: [image] })
    expect(await console.run('cat /sys/block/vda/size')).toBe('16384\n')
    await console.run('echo at the end > /tmp/x')
    truncateSync(image, 24 << 20)
    // Nobody in the guest asks: the change comes with an interrupt.
    await console.run('until [ $(cat /sys/block/vda/size) = 49152 ]; do sleep 0.1; done')
    expect(await console.run('dmesg | grep -c "vda: detected capacity change from 16384 to 49152"')).toBe('1\n')
    await console.run('dd if=/tmp/x of=/dev/vda seek=49151 conv=fsync 2>/dev/null')
    expect(await console.run('dd if=/dev/vda skip=49151 2>/dev/null | head -n 1')).toBe('at the end\n')
  },
)
