/** Media that fail, and media that die at a chosen call: under IndexedDB and under OPFS's files. */

import { forceCloseDatabase } from 'fake-indexeddb'
import { type MockInstance, vi } from 'vitest'
import type { SyncFile, SyncFiles } from '../../worker/backends/opfs.ts'
import { Killed } from './unreliable-file.ts'

/** What happens at the next call into the medium. */
export type Fate = 'well' | 'full' | 'fails' | 'short' | 'disconnected'

type Method = (...args: unknown[]) => unknown
/** Every call by which the store changes its database, or waits for it. */
const calls = () =>
  [
    [IDBDatabase.prototype, 'transaction'],
    [IDBObjectStore.prototype, 'put'],
    [IDBObjectStore.prototype, 'delete'],
    [IDBObjectStore.prototype, 'clear'],
    [IDBTransaction.prototype, 'commit'],
  ] as const

function intercept(around: (real: () => unknown, target: unknown, method: string) => unknown) {
  for (const [prototype, method] of calls()) {
    const real = (prototype as unknown as Record<string, Method>)[method]!
    const spy = vi.spyOn(prototype as never, method as never) as unknown as MockInstance<Method>
    spy.mockImplementation(function (this: unknown, ...args: unknown[]) {
      return around(() => real.apply(this, args), this, method)
    })
  }
}

const transactionOf = (target: unknown) =>
  target instanceof IDBObjectStore ? target.transaction : target instanceof IDBTransaction ? target : undefined

/** IndexedDB as a failing disk and a crashing storage process make it, until the mocks are restored. */
export function faultyIndexedDb(fate: () => Fate) {
  intercept((real, target, method) => {
    const next = fate()
    if (next === 'full' && method === 'put') throw new DOMException('no space', 'QuotaExceededError')
    if (next === 'fails' && method !== 'commit') throw new DOMException('the disk failed', 'UnknownError')
    const result = real()
    if (next === 'short' && method !== 'commit') (transactionOf(target) ?? (result as IDBTransaction)).abort() // fails later, by itself
    if (next === 'disconnected') {
      const db = target instanceof IDBDatabase ? target : transactionOf(target)?.db
      queueMicrotask(() => forceCloseDatabase(db as never))
    }
    return result
  })
}

/**
 * Lets `last` calls through; then the process is gone, and with it every transaction it had not committed. `after`: a
 * commit that it died at was still done, though nobody was told.
 */
export function mortalIndexedDb(last: number, when: 'before' | 'after'): { readonly calls: number } {
  const life = { calls: 0 }
  intercept((real, target, method) => {
    if (++life.calls <= last) return real()
    if (when === 'after' && life.calls === last + 1 && method === 'commit') real()
    else
      try {
        transactionOf(target)?.abort()
      } catch {
        // It was committed, or aborted, already.
      }
    throw new Killed(`killed at call ${last}`)
  })
  return life
}

/** Files on a disk that fails, is full, or takes and gives less than was asked for. */
export function faultyFiles(files: SyncFiles, fate: () => Fate): SyncFiles {
  const faulty = (file: SyncFile): SyncFile => {
    const attempt = () => {
      const next = fate()
      if (next === 'full') throw new DOMException('no space', 'QuotaExceededError')
      if (next === 'fails' || next === 'disconnected') throw new DOMException('the disk failed', 'InvalidStateError')
      return next
    }
    return {
      read: (target, at) => file.read(attempt() === 'short' ? target.subarray(0, target.length >> 1) : target, at),
      write: (bytes, at) => file.write(attempt() === 'short' ? bytes.subarray(0, bytes.length >> 1) : bytes, at),
      truncate(size) {
        attempt()
        file.truncate(size)
      },
      flush() {
        attempt()
        file.flush()
      },
      getSize: () => file.getSize(),
      close: () => file.close(),
    }
  }
  return { data: faulty(files.data), index: [faulty(files.index[0]), faulty(files.index[1])] }
}
