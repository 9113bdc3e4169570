import { expect, test } from 'vitest'
import { EndWatch } from './end-watch.ts'

const after = (...outputs: string[]) => {
  const watch = new EndWatch()
  for (const output of outputs) watch.output('hvc0', new TextEncoder().encode(output))
  return watch
}
const PANIC = '[    1.5] ---[ end Kernel panic - not syncing: sysrq triggered crash ]---\r\n'

test('a panic is the kernel’s last word, also in pieces', () => {
  expect(after('[    1.4] Kernel panic - not syncing: sysrq triggered crash\n', PANIC).panicked()).toBe(true)
  expect(after(...PANIC.match(/.{1,7}/gs)!).panicked()).toBe(true)
})

test('a panic that somebody only reads about is none', () => {
  expect(after(PANIC, '# ').panicked()).toBe(false)
  expect(after('cat panic.txt\n', PANIC, 'more\n').panicked()).toBe(false)
})

test('a halt, a power-off and a panic that halts are told apart', () => {
  expect(after('[    5.0] reboot: System halted\n').halted()).toBe('halted')
  expect(after('Requesting system poweroff\n[    5.0] reboot: System halted\n').halted()).toBe('powered-off')
  expect(after('[    5.0] reboot: Power down\n').halted()).toBe('powered-off')
  expect(after(PANIC).halted()).toBe('panicked')
})

test('only the end of a long output is kept', () => {
  const watch = after('[    5.0] reboot: Power down\n', 'x'.repeat(10_000), '\nreboot: System halted\n')
  expect(watch.halted()).toBe('halted')
})
