import { expect, test } from 'vitest'
import { GuestExec } from './exec.ts'

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)
const bytes = (value: string) => new TextEncoder().encode(value)

function agent() {
  const lines: string[] = []
  const exec = new GuestExec(line => lines.push(text(line)))
  let said = ''
  const output = {
    stdout: (part: Uint8Array) => void (said += `out:${text(part)} `),
    stderr: (part: Uint8Array) => void (said += `err:${text(part)} `),
  }
  return { exec, lines, output, said: () => said }
}

test('a command goes out as one line of base64, its output and status come back', async () => {
  const { exec, lines, output, said } = agent()
  const status = exec.run('echo „ü"; false', output)
  expect(lines.map(line => new TextDecoder().decode(Uint8Array.from(atob(line.trim()), c => c.charCodeAt(0))))).toEqual(
    ['echo „ü"; false'],
  )
  expect(lines[0]!.endsWith('\n')).toBe(true)
  expect(exec.take('ringlet.stdout', bytes('one'))).toBe(true)
  exec.take('ringlet.stderr', bytes('two'))
  exec.take('ringlet.status', bytes('12'))
  exec.take('ringlet.status', bytes('7\n'))
  expect(await status).toBe(127)
  expect(said()).toBe('out:one err:two ')
})

test('the next command waits until the one before it is done', async () => {
  const { exec, lines, output } = agent()
  const both = Promise.all([exec.run('a', output), exec.run('b', output)])
  expect(lines).toHaveLength(1)
  exec.take('ringlet.status', bytes('0\n'))
  expect(lines).toHaveLength(2)
  exec.take('ringlet.status', bytes('3\n'))
  expect(await both).toEqual([0, 3])
})

test('other ports are not its business', () => {
  expect(agent().exec.take('console', bytes('x'))).toBe(false)
})
