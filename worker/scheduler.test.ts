import { setImmediate, setTimeout } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Scheduler } from './scheduler.ts'

/** A CPU that always wants to sleep this long, in milliseconds. */
const cpu = (idle: number) => {
  let slices = 0
  const scheduler = new Scheduler(
    () => {
      slices++
      return idle
    },
    () => {},
  )
  scheduler.release('stopped')
  return { scheduler, slices: () => slices }
}

test('a busy CPU runs slice after slice, and everything else gets its turn between them', async () => {
  const { scheduler, slices } = cpu(0)
  for (let turn = 0; turn < 5; turn++) await setImmediate()
  scheduler.hold('test')
  expect(slices()).toBeGreaterThan(2)
})

test('it stands still until everyone who holds it has let go', async () => {
  const { scheduler, slices } = cpu(0)
  scheduler.hold('user')
  scheduler.hold('console')
  await setTimeout(2)
  scheduler.release('user')
  await setTimeout(2)
  expect(slices()).toBe(0)
  scheduler.release('console')
  await setTimeout(2)
  scheduler.hold('test')
  expect(slices()).toBeGreaterThan(0)
})

test('a sleeping CPU is woken at once', async () => {
  const { scheduler, slices } = cpu(60_000)
  await setTimeout(2)
  expect(slices()).toBe(1)
  scheduler.wake()
  await setImmediate()
  await setImmediate()
  expect(slices()).toBe(2)
  scheduler.hold('test')
})

test('a wake while nobody may run is remembered by the release', async () => {
  const { scheduler, slices } = cpu(60_000)
  await setTimeout(2)
  scheduler.hold('user')
  scheduler.wake()
  scheduler.release('user')
  await setTimeout(2)
  expect(slices()).toBe(2)
  scheduler.hold('test')
})

test('what is to be done soon is done once, before the next slice, and ends a sleep', async () => {
  const { scheduler, slices } = cpu(60_000)
  await setTimeout(2)
  const seen: number[] = []
  scheduler.soon(() => void seen.push(slices()))
  await setTimeout(2)
  expect([seen, slices()]).toEqual([[1], 2])
})

test('what a slice asks for is not slept over', async () => {
  let slices = 0
  const done: number[] = []
  const scheduler = new Scheduler(
    () => {
      if (++slices === 1) scheduler.soon(() => void done.push(slices))
      return 60_000
    },
    () => {},
  )
  scheduler.release('stopped')
  await setTimeout(2)
  expect([done, slices]).toEqual([[1], 2])
})

test('a slice that throws stops the CPU and is reported', async () => {
  const failures: unknown[] = []
  let slices = 0
  const scheduler = new Scheduler(
    () => {
      slices++
      throw new Error('no')
    },
    error => failures.push(error),
  )
  scheduler.release('stopped')
  await setTimeout(5)
  expect(slices).toBe(1)
  expect(failures).toEqual([new Error('no')])
})

test('a CPU that is woken during its slice, once it has asked for a sleep, does not sleep', async () => {
  let slices = 0
  const scheduler = new Scheduler(
    () => {
      if (++slices === 1) scheduler.wake()
      return 60_000
    },
    () => {},
  )
  scheduler.release('stopped')
  await setTimeout(2)
  expect(slices).toBe(2)
  scheduler.hold('test')
})

test('a sleeping CPU runs as soon as what woke it is done, but others get their turn before it does so again', async () => {
  const { scheduler, slices } = cpu(60_000)
  await setTimeout(2)
  scheduler.wake()
  expect(slices()).toBe(1)
  await Promise.resolve()
  expect(slices()).toBe(2)
  scheduler.wake()
  for (let i = 0; i < 10; i++) await Promise.resolve()
  expect(slices()).toBe(2)
  await setImmediate()
  expect(slices()).toBe(3)
  scheduler.hold('test')
})
