import { setImmediate } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import type { ConsoleOutput } from './api.ts'
import { ConsoleBridge } from './console-bridge.ts'

const opened: MessagePort[] = []
afterEach(() => {
  for (const port of opened.splice(0)) port.close()
})

function terminal() {
  const { port1, port2 } = new MessageChannel()
  opened.push(port1)
  const batches: string[] = []
  port1.onmessage = ({ data }: MessageEvent<ConsoleOutput>) => batches.push(new TextDecoder().decode(data.bytes))
  return { port: port2, page: port1, batches }
}
function bridge() {
  const log: unknown[] = []
  const made = new ConsoleBridge({
    input: bytes => log.push(new TextDecoder().decode(bytes)),
    resize: (columns, rows) => log.push([columns, rows]),
    behind: far => log.push(far),
  })
  return { bridge: made, log }
}
const text = (value: string) => new TextEncoder().encode(value)
const settled = async () => {
  for (let turn = 0; turn < 10; turn++) await setImmediate()
}

test('what the guest says in one turn arrives as one batch', async () => {
  const { bridge: made } = bridge()
  const { port, batches } = terminal()
  made.connect(port)
  made.output(text('hello '))
  made.output(text('world'))
  await settled()
  expect(batches).toEqual(['hello world'])
})

test('typing and sizes go the other way', async () => {
  const { bridge: made, log } = bridge()
  const { port, page } = terminal()
  made.connect(port)
  page.postMessage({ input: text('ls\r') })
  page.postMessage({ columns: 132, rows: 43 })
  await settled()
  expect(log).toEqual(['ls\r', [132, 43]])
})

test('a terminal that is a megabyte behind stops the guest until it has caught up', async () => {
  const { bridge: made, log } = bridge()
  const { port, page, batches } = terminal()
  made.connect(port)
  for (let i = 0; i < 17; i++) made.output(new Uint8Array(65536))
  await settled()
  expect(log).toEqual([true])
  expect(batches).toHaveLength(17)
  page.postMessage({ acknowledged: 12 * 65536 })
  await settled()
  expect(log).toEqual([true])
  page.postMessage({ acknowledged: 2 * 65536 })
  await settled()
  expect(log).toEqual([true, false])
})

test('a new terminal gets what was said while there was none, and owes nothing for the old one', async () => {
  const { bridge: made, log } = bridge()
  made.output(text('early '))
  await settled()
  const first = terminal()
  made.connect(first.port)
  await settled()
  expect(first.batches).toEqual(['early '])
  for (let i = 0; i < 17; i++) made.output(new Uint8Array(65536))
  await settled()
  const second = terminal()
  made.connect(second.port)
  made.output(text('more'))
  await settled()
  expect(second.batches).toEqual(['more'])
  expect(log).toEqual([true, false])
})

test('without a terminal only the last megabyte is kept', async () => {
  const { bridge: made } = bridge()
  for (let i = 0; i < 40; i++) made.output(new Uint8Array(65536).fill(97 + (i % 26)))
  await settled()
  const { port, batches } = terminal()
  made.connect(port)
  await settled()
  expect(batches).toHaveLength(16)
  expect(batches.at(-1)![0]).toBe(String.fromCharCode(97 + (39 % 26)))
})
