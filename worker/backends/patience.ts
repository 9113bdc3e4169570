import type { BlockBackend } from '../../src/devices/block-backend.ts'
import { StorageFullError } from './block-store.ts'

/** Asked when there is no room left, with the sentence that says so; the machine stands still until there is an answer. */
export type WhenFull = (reason: string) => Promise<'retry' | 'give up'>

/**
 * A disk whose writes and flushes wait, when the storage is full, for somebody to make room; given up, they fail and the
 * guest sees an I/O error. Whoever writes meanwhile waits for the same answer.
 */
export function patient<D extends BlockBackend>(disk: D, whenFull: WhenFull): D {
  let asking: Promise<'retry' | 'give up'> | undefined
  const again = async (error: unknown, work: () => void | Promise<void>): Promise<void> => {
    if (!(error instanceof StorageFullError)) throw error
    asking ??= whenFull(error.message).finally(() => {
      asking = undefined
    })
    if ((await asking) === 'give up') throw error
    await attempt(work)
  }
  const attempt = (work: () => void | Promise<void>): void | Promise<void> => {
    try {
      return work()?.catch(error => again(error, work))
    } catch (error) {
      return again(error, work)
    }
  }
  const write = disk.write?.bind(disk)
  const flush = disk.flush?.bind(disk)
  const writeZeroes = disk.writeZeroes?.bind(disk)
  if (write)
    disk.write = (offset, bytes) => {
      // The bytes are guest RAM: a write that has to wait needs its own, and is known to only once it has failed.
      let kept: Uint8Array | undefined
      let first = true
      const work = () => {
        if (!first) return write(offset, kept!)
        first = false
        try {
          const wait = write(offset, bytes)
          if (wait) kept = bytes.slice()
          return wait
        } catch (error) {
          kept = bytes.slice()
          throw error
        }
      }
      return attempt(work)
    }
  if (flush) disk.flush = () => attempt(flush)
  if (writeZeroes) disk.writeZeroes = (...range) => attempt(() => writeZeroes(...range))
  return disk
}
