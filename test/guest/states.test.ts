import { expect, test } from 'vitest'
import { bootToPrompt } from './boot.ts'

test('a panic is told as one, and the CPU rests', async () => {
  const { console, enters, states } = await bootToPrompt()
  const panicked = enters('panicked')
  console.send('echo c > /proc/sysrq-trigger\n')
  await panicked
  expect(console.transcript).toContain('Kernel panic - not syncing: sysrq triggered crash')
  expect(states).toEqual(['booting', 'running', 'panicked'])
})

test('a reset gets out of a panic, with interrupts as at power-on', async () => {
  // Over mmio an interrupt that the panicked kernel never acknowledged holds the device's line up.
  const { console, enters, machine } = await bootToPrompt({ transport: 'mmio' })
  const panicked = enters('panicked')
  console.send('echo c > /proc/sysrq-trigger\n')
  await panicked
  await machine.reset()
  await console.expect(/ringlet:[^\n]*# /)
  expect(await console.run('echo heard')).toBe('heard\n')
})

test('reading about a panic is none', async () => {
  const { console, states } = await bootToPrompt()
  await console.run("echo '---[ end Kernel panic - not syncing: not really ]---'")
  await console.run('i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done')
  expect(states).toEqual(['booting', 'running'])
})

test('a power-off is told as one', async () => {
  const { console, enters } = await bootToPrompt()
  const off = enters('powered-off')
  console.send('poweroff\n')
  await off
})

test('a halt is told as one', async () => {
  const { console, enters } = await bootToPrompt()
  const halted = enters('halted')
  console.send('halt\n')
  await halted
})

test('a reboot starts the same machine again', async () => {
  const { console, enters } = await bootToPrompt()
  await console.run('echo marked > /tmp/mark')
  const again = enters('booting')
  console.send('reboot\n')
  await console.expect(/Requesting system reboot/)
  await again
  await console.expect(/ringlet:[^\n]*# /)
  expect(await console.run('ls /tmp | wc -l')).toBe('0\n')
})

test('a triple fault is told as one, and a reset gets out of it', async () => {
  const { console, enters, machine } = await bootToPrompt({ cmdline: 'reboot=triple' })
  const fault = enters('triple-fault')
  console.send('reboot -f\n')
  await fault
  await machine.reset()
  await console.expect(/ringlet:[^\n]*# /)
})

test('paused, the guest stands still; resumed, it goes on where it was', async () => {
  const { console, machine, states } = await bootToPrompt()
  machine.pause()
  console.send('echo on$((1))\n')
  await expect(console.expect(/on1/, 1)).rejects.toThrow('No /on1/ within 1 s')
  machine.resume()
  await console.expect(/on1/)
  expect(states).toEqual(['booting', 'running', 'paused', 'running'])
})
