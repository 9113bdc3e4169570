import wasmUrl from 'v86/build/v86.wasm?url'
import { Scheduler } from '../../worker/scheduler.ts'
import { Board } from '../../worker/v86.ts'
import type { Schedule } from './yields.ts'

const CODE = 0x100000
const COUNTER = 0x2000
const IRQ = 5
const WINDOW = 0xd0000000
/** Milliseconds of work, and how often a sleeper is woken. */
const WORK = 2000
const WAKES = 200

const le = (value: number, size = 4) => Array.from({ length: size }, (_, i) => (value >>> (8 * i)) & 0xff)
/** inc dword [COUNTER]; for ever, with interrupts off. */
const busy = [0xff, 0x05, ...le(COUNTER), 0xeb, 0xf8]
/** Sleeps; each interrupt stores to the window. */
const HANDLER = 0x40
const sleeper = [
  ...[0x0f, 0x01, 0x1d, ...le(0x3000)], // lidt
  ...[0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x20, 0xe6, 0x21, 0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21], // interrupts at 0x20
  ...[0xb0, 0xdf, 0xe6, 0x21, 0xff, 0x05, ...le(COUNTER)], // all masked but 5; inc dword [COUNTER]
  ...[0xfb, 0xf4, 0xeb, 0xfd], // sti; hlt; again
]
const handler = [0xa3, ...le(WINDOW), 0xb0, 0x20, 0xe6, 0x20, 0xcf] // mov [window], eax; end of interrupt; iret
const wake = [...sleeper, ...Array(HANDLER - sleeper.length).fill(0x90), ...handler]

addEventListener('message', async ({ data }: MessageEvent<{ schedule: Schedule; program: 'busy' | 'wake' }>) => {
  const { schedule, program } = data
  const wasm = await WebAssembly.compileStreaming(fetch(wasmUrl))
  let scheduler: Scheduler | undefined
  const board = await Board.create(
    { memory: 16 << 20, wasm, ownYield: schedule === 'v86' },
    {
      wake: () => scheduler?.wake(),
      halted: () => {},
      reset: () => {},
      serial: () => {},
      fault: error => console.error(error),
    },
  )
  load(board, program === 'busy' ? busy : wake)
  if (schedule === 'v86') board.runItself!()
  else {
    scheduler = new Scheduler(
      () => board.slice(),
      error => console.error(error),
    )
    scheduler.release('stopped')
  }
  postMessage(program === 'busy' ? await throughput(board) : await latency(board))
})

function load(board: Board, code: readonly number[]) {
  const flat = { selector: 0x18, base: 0, limit: 0xffffffff, access: 0x93 }
  const gdt = new Uint32Array([0, 0, 0, 0, 0xffff, 0x00cf9b00, 0xffff, 0x00cf9300])
  board.load({
    segments: [
      { name: 'code', address: CODE, bytes: Uint8Array.from(code), length: code.length },
      { name: 'GDT', address: 0x8000, bytes: new Uint8Array(gdt.buffer), length: 32 },
    ],
    cpu: {
      ...{ eip: CODE, esi: 0, esp: 0x9000, cr0: 0x11, eflags: 2, gdtr: { base: 0x8000, limit: 31 } },
      ...{ cs: { ...flat, selector: 0x10, access: 0x9b }, data: flat },
    },
  })
  const at = CODE + HANDLER
  board.memory.write(0x3000, Uint8Array.from([...le(0x7ff, 2), ...le(0x4000)]))
  board.memory.write(0x4000 + 8 * (0x20 + IRQ), Uint8Array.from([...le(at, 2), 0x10, 0, 0, 0x8e, ...le(at >>> 16, 2)]))
}

const pause = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

/** Millions of rounds a second. */
async function throughput({ memory }: Board) {
  const count = () => memory.view.getUint32(COUNTER, true)
  await pause(500)
  const [before, started] = [count(), performance.now()]
  await pause(WORK)
  return (count() - before) / (performance.now() - started) / 1000
}

/** Milliseconds from raising an interrupt to its handler's first store, the median of many. */
async function latency(board: Board) {
  const line = board.line(IRQ)
  let served: (() => void) | undefined
  board.mapMemory(WINDOW, {
    length: 4,
    read: () => 0,
    write() {
      line.set(false)
      served?.()
    },
  })
  while (board.memory.view.getUint32(COUNTER, true) === 0) await pause(1) // it has to have set up its interrupts
  const times: number[] = []
  for (let i = 0; i < WAKES; i++) {
    await pause(5)
    const started = performance.now()
    const done = new Promise<void>(resolve => {
      served = () => {
        times.push(performance.now() - started)
        resolve()
      }
    })
    line.set(true)
    await done
  }
  return times.sort((a, b) => a - b)[times.length >> 1]!
}
