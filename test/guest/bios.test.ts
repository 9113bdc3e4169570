import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { BIOS, grubDisk, isolinuxCd, needBootLoaders } from '../boot/media.ts'
import { boot } from './boot.ts'

let folder: string
beforeAll(async () => {
  needBootLoaders()
  folder = await mkdtemp(join(tmpdir(), 'ringlet-bios-'))
  await grubDisk(join(folder, 'disk.img'))
  await isolinuxCd(join(folder, 'cd.iso'))
})
afterAll(() => rm(folder, { recursive: true }))

test.each([
  { transport: 'pci-transitional', device: '0x1001' },
  { transport: 'pci', device: '0x1042' },
] as const)(
  'SeaBIOS and GRUB start a raw disk on $transport, and what is written stays on it',
  async ({ transport, device }) => {
    const guest = await boot({ bios: BIOS, disks: [join(folder, 'disk.img')], transport, exec: true })
    // The serial port has the text of BIOS and boot loader.
    await guest.console.expect(/SeaBIOS \(version/)
    await guest.machine.reset()
    await guest.console.expect(/SeaBIOS \(version/)
    const { stdout } = await guest.exec(
      'cat /sys/block/vda/device/../device; grep -o " / ext4 rw" /proc/mounts; cat /proc/cmdline; cat /boots; echo boot >> /boots; sync',
    )
    const [id, root, words, ...boots] = stdout.trim().split('\n')
    expect([id, root]).toEqual([device, ' / ext4 rw'])
    expect(words).toContain('BOOT_IMAGE=(hd0,msdos1)/boot/bzImage root=/dev/vda1')
    expect(boots).toEqual(transport === 'pci' ? ['boot'] : [])
    expect(guest.problems).toEqual([])
  },
)

test('SeaBIOS and isolinux start a CD, again after the guest’s reboot, with a disk beside it', async () => {
  const guest = await boot({
    ...{ bios: BIOS, cdrom: join(folder, 'cd.iso'), disks: [join(folder, 'disk.img')], exec: true },
  })
  const look = 'cat /proc/cmdline; mount -t iso9660 -o ro /dev/sr0 /mnt && ls /mnt; cat /sys/block/vda/size'
  const first = await guest.exec(look)
  expect(first.stdout).toMatch(/^BOOT_IMAGE=bzImage initrd=initramfs.cpio.zst .*\n(.*\n)*isolinux.cfg\n(.*\n)*\d+\n$/)
  const states = guest.states.length
  void guest.exec('reboot -f')
  await guest.enters('booting')
  expect(guest.states.length).toBeGreaterThan(states)
  await guest.console.expect(/ringlet:[^\n]*# /)
  expect(guest.problems).toEqual([])
})
