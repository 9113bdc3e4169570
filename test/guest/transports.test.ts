import { expect, test } from 'vitest'
import { transports } from '../../worker/description.ts'
import { bootToPrompt, type Guest } from './boot.ts'

/** What sysfs says of each virtio device. */
async function devices({ console }: Guest) {
  const fields = ['device', 'vendor', 'status', 'features', 'modalias']
  const lines = await console.run(
    `for d in /sys/bus/virtio/devices/*; do echo $(cat ${fields.map(field => `$d/${field}`).join(' ')}) $(readlink $d/driver); done`,
  )
  return lines
    .trim()
    .split('\n')
    .map(line => {
      const [device, vendor, status, features, modalias, driver] = line.split(' ')
      return { device, vendor, status, modalias, driver: driver?.split('/').at(-1), features: features!, bus: driver }
    })
}
const offered = (features: string) => [...features].flatMap((bit, number) => (bit === '1' ? [number] : []))
const VERSION_1 = 32

test.each(transports)(
  'on %s the default guest boots, its devices are bound, typed commands and random bytes work',
  async transport => {
    const guest = await bootToPrompt({ transport })
    const { console } = guest
    expect(await console.run('echo typed $((6 * 7))')).toBe('typed 42\n')

    const found = await devices(guest)
    const legacy = transport.endsWith('legacy')
    // A legacy driver knows no FEATURES_OK.
    const status = legacy ? '0x00000007' : '0x0000000f'
    // Over mmio the vendor is ours to choose, over PCI it is the card's.
    const vendor = transport.startsWith('mmio') ? '0x0000' : '0x1af4'
    const modalias = (id: string) => `virtio:d0000${id}v${vendor === '0x1af4' ? '00001AF4' : '00000000'}`
    expect(found.map(({ features, bus, ...rest }) => rest)).toEqual([
      { device: '0x0003', vendor, status, modalias: modalias('0003'), driver: 'virtio_console' },
      { device: '0x0004', vendor, status, modalias: modalias('0004'), driver: 'virtio_rng' },
    ])
    for (const { features } of found) expect(offered(features).includes(VERSION_1)).toBe(!legacy)

    expect(await console.run('cat /sys/class/misc/hw_random/rng_current')).toMatch(/^virtio_rng/)
    const random = () => console.run('dd if=/dev/hwrng bs=32 count=1 2>/dev/null | xxd -p -c 64')
    const [first, second] = [await random(), await random()]
    expect(first).toMatch(/^[0-9a-f]{64}\n$/)
    expect(second).not.toBe(first)
    expect(guest.problems).toEqual([])
  },
)

test('with virtio_pci.force_legacy a transitional device comes up legacy', async () => {
  const guest = await bootToPrompt({ transport: 'pci-transitional', cmdline: 'virtio_pci.force_legacy=1' })
  for (const { features } of await devices(guest)) expect(offered(features)).not.toContain(VERSION_1)
})

test('without it the same device comes up modern', async () => {
  const guest = await bootToPrompt({ transport: 'pci-transitional' })
  for (const { features } of await devices(guest)) expect(offered(features)).toContain(VERSION_1)
})
