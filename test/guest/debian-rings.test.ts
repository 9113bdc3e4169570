import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { boot } from './boot.ts'
import { debianKernel } from './debian-kernel.ts'

const [INDIRECT_DESC, EVENT_IDX, VERSION_1, RING_PACKED] = [28, 29, 32, 34]
/** Features the devices go without, one kind of device at a time. */
const MASKS = [[], ['VIRTIO_RING_F_INDIRECT_DESC'], ['VIRTIO_RING_F_EVENT_IDX']]
const BITS: Record<string, number> = { VIRTIO_RING_F_INDIRECT_DESC: INDIRECT_DESC, VIRTIO_RING_F_EVENT_IDX: EVENT_IDX }
/** In milliseconds: it is a big kernel, much of which is interpreted, and it may have to be fetched. */
const PATIENCE = 900_000

/** A console and a source of entropy for each transport and mask, all in one machine. */
const devices = (['pci', 'mmio'] as const).flatMap(transport =>
  MASKS.flatMap(mask => [
    { type: 'console', transport, features: { mask } },
    { type: 'entropy', transport, features: { mask } },
  ]),
)

test(
  'Debian’s stock kernel has packed rings over pci and mmio, with and without INDIRECT_DESC and EVENT_IDX, and its consoles work',
  async () => {
    const { kernel, initrd } = await debianKernel(['virtio_pci', 'virtio_mmio', 'virtio_console', 'virtio_rng'])
    const folder = mkdtempSync(join(tmpdir(), 'ringlet-debian-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const machine = join(folder, 'machine.json')
    const urls = { kernel: pathToFileURL(kernel).href, initrd: pathToFileURL(initrd).href }
    writeFileSync(machine, JSON.stringify({ ...urls, devices }))
    const guest = await boot({ machine, exec: true, cmdline: 'cryptomgr.notests noisapnp' })
    const run = async (command: string) => {
      const { status, stdout, stderr } = await guest.exec(command)
      expect({ command, status, stderr }).toEqual({ command, status: 0, stderr: '' })
      return stdout.trim().split('\n')
    }

    // The bus a device is on, its driver, and what was negotiated.
    const found = await run(
      'for d in /sys/bus/virtio/devices/*; do' +
        ' echo $(basename $(dirname $(readlink -f $d))) $(basename $(readlink $d/driver)) $(cat $d/features); done',
    )
    const negotiated = found.map(line => {
      const [parent, driver, features] = line.split(' ')
      const bits = [INDIRECT_DESC, EVENT_IDX, VERSION_1, RING_PACKED].filter(bit => features![bit] === '1')
      return `${parent!.startsWith('virtio-mmio') ? 'mmio' : 'pci'} ${driver} ${bits}`
    })
    const wanted = devices.map(({ type, transport, features }) => {
      const without = features.mask.map(name => BITS[name])
      const bits = [INDIRECT_DESC, EVENT_IDX, VERSION_1, RING_PACKED].filter(bit => !without.includes(bit))
      return `${transport} ${type === 'console' ? 'virtio_console' : 'virtio_rng'} ${bits}`
    })
    expect(negotiated.sort()).toEqual(wanted.sort())

    // Every console says something, more than a ring full of it.
    const numbers = devices.flatMap(({ type }, index) => (type === 'console' ? [index] : []))
    // A port is there some time after its device.
    for (const hvc of numbers.keys())
      await run(`for i in $(seq 600); do (: > /dev/hvc${hvc}) 2> /dev/null && break; sleep 0.2; done`)
    for (const hvc of numbers.keys()) await run(`(seq 1 500; echo the end of hvc${hvc}) > /dev/hvc${hvc}`)
    const hvcOf = numbers.map(index => /\b500\r\nthe end of hvc(\d+)\r\n/.exec(guest.said.get(index) ?? '')?.[1])
    expect([...hvcOf].sort()).toEqual([...numbers.keys()].map(String))

    // Every console hears something; there is a shell on hvc0.
    const type = (index: number, text: string) =>
      guest.machine.input({ device: index, port: 0, name: '' }, Buffer.from(`${text}\n`))
    const others = numbers.filter((_, i) => hvcOf[i] !== '0')
    const typist = setInterval(() => {
      for (const index of others) type(index, `typed at ${index}`)
    }, 1000)
    onTestFinished(() => clearInterval(typist))
    const all = [...numbers.keys()].slice(1).join(' ')
    const heard = await run(`for n in ${all}; do (read -t 300 line < /dev/hvc$n; echo $line) & done; wait`)
    clearInterval(typist)
    expect(heard.sort()).toEqual(others.map(index => `typed at ${index}`).sort())
    type(numbers[hvcOf.indexOf('0')]!, 'echo typed $((6 * 7)) > /root/typed')
    expect(await run('for i in $(seq 100); do [ -s /root/typed ] && break; sleep 1; done; cat /root/typed')).toEqual([
      'typed 42',
    ])
    expect(guest.problems).toEqual([])

    // All sources of entropy, one after the other.
    const random = await run(
      'cd /sys/class/misc/hw_random; for r in $(cat rng_available); do' +
        ' echo $r > rng_current && head -c 100 /dev/hwrng | wc -c; done',
    )
    expect(random).toEqual(Array(devices.length / 2).fill('100'))
  },
  PATIENCE,
)
