import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { expect, onTestFinished, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const MIB = 2 ** 20

function temporary() {
  const folder = mkdtempSync(join(tmpdir(), 'ringlet-disk-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

/** One of the commands of `package.json`, to its end. */
function command(program: 'vm' | 'image', ...args: string[]) {
  const child = spawn(process.execPath, ['--import', 'tsx', `cli/${program}.ts`, ...args], { cwd: root })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', part => (stdout += part))
  child.stderr.on('data', part => (stderr += part))
  return new Promise<{ status: number | null; stdout: string; stderr: string }>(resolve =>
    child.on('close', status => resolve({ status, stdout, stderr })),
  )
}

test('vm --disk, given twice: both are written in place, and what was written is there the next time', async () => {
  const folder = temporary()
  const [a, b] = [join(folder, 'a.img'), join(folder, 'b.img')]
  for (const [file, size] of [
    [a, 16 * MIB],
    [b, MIB],
  ] as const) {
    writeFileSync(file, '')
    truncateSync(file, size)
  }
  const disks = ['--disk', a, '--disk', b]
  const written = await command(
    'vm',
    ...disks,
    '--exec',
    'set -e; mkfs.ext4 -q /dev/vda; mount /dev/vda /mnt; echo hello > /mnt/file; umount /mnt; printf second > /dev/vdb; sync',
  )
  expect(written).toMatchObject({ status: 0 })
  const read = await command(
    'vm',
    ...disks,
    '--exec',
    'mount /dev/vda /mnt && cat /mnt/file && umount /mnt && head -c 6 /dev/vdb',
  )
  expect(read).toMatchObject({ status: 0, stdout: 'hello\nsecond' })
  expect(readFileSync(b).subarray(0, 6).toString()).toBe('second')
  if (existsSync('/sbin/e2fsck')) expect(spawnSync('/sbin/e2fsck', ['-fn', a]).status).toBe(0)
})

test('vm --disk with a file that is not there says how to make one', async () => {
  const { status, stderr } = await command('vm', '--disk', join(temporary(), 'none.img'), '--exec', 'true')
  expect(status).toBe(2)
  expect(stderr).toMatch(/there is no disk image .*none\.img: make one with "truncate -s 1G/i)
})

test('image pack, verify and unpack: an image comes back, and damage is named', async () => {
  const folder = temporary()
  const image = Buffer.alloc(3 * MIB + 512)
  for (let i = MIB; i < 2 * MIB; i++) image[i] = i * 7 + (i >> 8)
  const [packed, out] = [join(folder, 'packed'), join(folder, 'out.img')]
  writeFileSync(join(folder, 'disk.img.gz'), gzipSync(image))

  const { status, stdout } = await command(
    'image',
    'pack',
    join(folder, 'disk.img.gz'),
    packed,
    '--chunk',
    '128',
    '--level',
    '3',
  )
  expect(status).toBe(0)
  expect(stdout).toMatch(/size +3\.0 MiB in 25 chunks of 128 KiB\nzeroes +17 chunks \(68\.0 %\)/)
  expect(await command('image', 'verify', packed)).toMatchObject({
    status: 0,
    stdout: expect.stringContaining('25 chunks are good'),
  })
  expect((await command('image', 'unpack', packed, out)).status).toBe(0)
  expect(image.equals(readFileSync(out))).toBe(true)

  const chunk = readdirSync(packed, { recursive: true, encoding: 'utf8' }).find(name => name.endsWith('.zst'))!
  writeFileSync(join(packed, chunk), 'something else')
  const damaged = await command('image', 'verify', packed)
  expect(damaged.status).toBe(1)
  expect(damaged.stderr).toMatch(/chunk \d+: .* is not what its name says/)
  expect(await command('image', 'verify', folder)).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/make one with "npm run -s image -- pack/),
  })
})
