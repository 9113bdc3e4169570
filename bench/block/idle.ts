import type { CDPSession, Page } from '@playwright/test'
import type { StoreKind } from '../../worker/backends/disks.ts'
import type { BenchBrowser } from '../harness/browser.ts'
import { type Row, row } from '../harness/row.ts'
import type { Bench } from '../page/page.ts'

declare const bench: Bench

const MIB = 2 ** 20
/** Of each disk, in MiB; every block of it is written. IndexedDB takes its time to be filled. */
const sizes: Readonly<Record<StoreKind, number>> = { opfs: 1024, indexeddb: 256 }

/** What a full disk takes up in the worker that has it attached, for each GiB. */
export async function* memoryWhenIdle(chromium: BenchBrowser): AsyncIterable<Row> {
  for (const store of Object.keys(sizes) as StoreKind[]) {
    const size = sizes[store]
    process.stderr.write(`memory of an idle disk: filling ${size} MiB in ${store}\n`)
    const page = await chromium.page()
    const disk = await page.evaluateHandle(([store, size]) => bench.idleDisk(store, size), [store, size * MIB] as const)
    await disk.evaluate(disk => disk.fill())
    const memory = await workerMemory(page)
    const before = await memory()
    await disk.evaluate(disk => disk.attach())
    const grown = (await memory()) - before
    yield row({
      what: `memory of a full ${store} disk, attached and idle`,
      unit: 'MiB/GiB',
      ours: [grown / size / 1024],
      target: { atMost: 4 },
    })
    await page.close()
  }
}

/** Asks the page's worker for the bytes of its heap and of its buffers, garbage collected before. */
async function workerMemory(page: Page): Promise<() => Promise<number>> {
  const session = await page.context().newCDPSession(page)
  const { targetInfos } = await session.send('Target.getTargets')
  const { targetId } = targetInfos.find(
    ({ type, url }) => type === 'worker' && url.startsWith(new URL('.', page.url()).href),
  )!
  const { sessionId } = await session.send('Target.attachToTarget', { targetId })
  const send = asker(session, sessionId)
  return async () => {
    for (let i = 0; i < 3; i++) await send('HeapProfiler.collectGarbage')
    const { usedSize, backingStorageSize = 0 } = await send('Runtime.getHeapUsage')
    return usedSize! + backingStorageSize
  }
}

/** Playwright's sessions do not reach into workers; a session's own messages do. */
function asker(session: CDPSession, sessionId: string) {
  const waiting = new Map<number, (result: Record<string, number>) => void>()
  session.on('Target.receivedMessageFromTarget', ({ message }) => {
    const { id, result } = JSON.parse(message)
    waiting.get(id)?.(result)
  })
  let count = 0
  return (method: string) =>
    new Promise<Record<string, number>>(resolve => {
      waiting.set(++count, resolve)
      void session.send('Target.sendMessageToTarget', { sessionId, message: JSON.stringify({ id: count, method }) })
    })
}
