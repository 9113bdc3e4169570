import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** `npm run -s vm -- …`, to its end. */
const vm = (...args: string[]) => vmWith('', args)

/** The same, with something on its standard input. */
function vmWith(typed: string, args: readonly string[] = []) {
  const child = spawn(process.execPath, ['--import', 'tsx', 'cli/vm.ts', ...args], { cwd: root, stdio: 'pipe' })
  child.stdin.end(typed)
  const [out, err]: [Buffer[], Buffer[]] = [[], []]
  child.stdout.on('data', part => out.push(part))
  child.stderr.on('data', part => err.push(part))
  return new Promise<{ status: number | null; stdout: Buffer; stderr: string }>(resolve =>
    child.on('close', status => resolve({ status, stdout: Buffer.concat(out), stderr: Buffer.concat(err).toString() })),
  )
}

test('--exec prints exactly what the command printed, each stream to its own, and exits with its status', async () => {
  const { status, stdout, stderr } = await vm('--exec', 'printf "no newline"; printf "a\\0b\\n" >&2; exit 42')
  expect({ status, stdout: stdout.toString(), stderr }).toEqual({ status: 42, stdout: 'no newline', stderr: 'a\0b\n' })
})

test('--exec passes five megabytes through without losing one', async () => {
  const command = 'yes 0123456789abcdef | head -c 5000000'
  const { status, stdout, stderr } = await vm('--transport', 'pci', '--exec', command)
  const expected = Buffer.from('0123456789abcdef\n'.repeat(300_000)).subarray(0, 5_000_000)
  const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
  expect({ status, stderr, length: stdout.length }).toEqual({ status: 0, stderr: '', length: 5_000_000 })
  expect(digest(stdout)).toBe(digest(expected))
})

test('what is typed before the guest is there reaches its shell', async () => {
  const { status, stdout } = await vmWith('echo $((6 * 7)) apples; poweroff -f\n')
  expect({ status, apples: /^42 apples\r$/m.test(stdout.toString()) }).toEqual({ status: 0, apples: true })
})

test('the first console is the terminal, whatever its ports are called', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'ringlet-vm-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const machine = join(folder, 'machine.json')
  const file = (name: string) => join(root, 'public/guest', name)
  const ports = [{ name: 'main', console: true }, { name: 'other' }]
  const devices = [{ type: 'console', ports }, { type: 'entropy' }]
  const cmdline = 'quiet'
  await writeFile(
    machine,
    JSON.stringify({ kernel: file('bzImage'), initrd: file('initramfs.cpio.zst'), cmdline, devices }),
  )
  const { status, stdout } = await vmWith('echo $((6 * 7)) apples; poweroff -f\n', ['--machine', machine])
  expect({ status, apples: /^42 apples\r$/m.test(stdout.toString()) }).toEqual({ status: 0, apples: true })
})

test('with console=ttyS0 the shell is on the serial port, and is typed at there', async () => {
  const { status, stdout } = await vmWith('echo $((6 * 7)) apples on $(tty); poweroff -f\n', [
    '--cmdline',
    'console=ttyS0',
  ])
  expect({ status, apples: /^42 apples on \/dev\/ttyS0\r$/m.test(stdout.toString()) }).toEqual({
    status: 0,
    apples: true,
  })
})

test('a timeout is exit status 124, with a sentence', async () => {
  const { status, stdout, stderr } = await vm('--timeout', '1', '--exec', 'true')
  expect({ status, stdout: stdout.toString() }).toEqual({ status: 124, stdout: '' })
  expect(stderr).toMatch(/^Nothing more was waited for after 1 s\. .*\n$/)
})

test('what cannot be booted or understood is exit status 2, with one sentence', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'ringlet-vm-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const text = join(folder, 'kernel')
  await writeFile(text, 'not a kernel')
  const cases = [
    [['--kernel', text], /^The kernel is not a bzImage or vmlinux but text/],
    [['--kernel', join(folder, 'none')], /^There is no file .* for the kernel/],
    [['--transport', 'usb'], /^There is no transport "usb"/],
    [['--memory', 'much'], /^--memory takes a positive number/],
    [['--machine', 'package.json'], /^package\.json: version: there is no such entry/],
    [['--memory', '10'], /^There is too little memory/],
    [['--machine', text], /is not a machine description: it is not JSON/],
    [['--nonsense'], /--nonsense/],
  ] as const
  for (const [args, message] of cases) {
    const { status, stderr } = await vm(...args)
    expect({ args, status }).toEqual({ args, status: 2 })
    expect(stderr).toMatch(message)
    expect(stderr.trim()).not.toContain('\n    at ')
  }
})
