import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { rootDisk } from '../boot/media.ts'
import { boot } from './boot.ts'

const folder = mkdtempSync(join(tmpdir(), 'ringlet-disk-'))
afterAll(() => rmSync(folder, { recursive: true }))
/** Debian's own checker, as a second opinion. */
const e2fsck = (path: string) =>
  execFileSync('e2fsck', ['-fn', path], { stdio: 'pipe', env: { PATH: '/sbin:/usr/sbin' } })

test('the default guest makes a file system on a raw disk, fills and checks it; the file has it all afterwards', async () => {
  const path = join(folder, 'empty.img')
  writeFileSync(path, '')
  truncateSync(path, 16 << 20)
  const guest = await boot({ disks: [path], exec: true })
  const steps = [
    'mkfs.ext4 -q /dev/vda',
    'mount /dev/vda /mnt',
    'head -c 3000000 /dev/urandom > /mnt/random',
    'sha256sum < /mnt/random',
    'umount /mnt',
    'e2fsck -fn /dev/vda > /dev/null',
  ]
  const { status, stdout, stderr } = await guest.exec(steps.join(' && '))
  expect({ status, stderr }).toEqual({ status: 0, stderr: expect.any(String) })
  e2fsck(path)
  const read = execFileSync('debugfs', ['-R', 'cat /random', path], {
    ...{ stdio: 'pipe', maxBuffer: 2 ** 24, env: { PATH: '/sbin:/usr/sbin' } },
  })
  const sum = execFileSync('sha256sum', { input: read }).toString()
  expect(stdout).toBe(sum)
})

test('a kernel started directly has its root file system on a disk, and what is written is there at the next start', async () => {
  const path = join(folder, 'root.img')
  await rootDisk(path)
  const kernel = fileURLToPath(new URL('../../public/guest/bzImage', import.meta.url))
  const start = () => boot({ kernel, disks: [path], cmdline: 'root=/dev/vda rw init=/init quiet', exec: true })
  const first = await start()
  expect((await first.exec('grep -o " / ext4 rw" /proc/mounts && echo kept > /root/file')).stdout).toBe(' / ext4 rw\n')
  void first.exec('poweroff')
  // Which of the two, only init's last words say, and its terminal may be gone by then.
  await Promise.race([first.enters('powered-off'), first.enters('halted')])
  e2fsck(path)
  const second = await start()
  expect((await second.exec('cat /root/file')).stdout).toBe('kept\n')
})
