import 'fake-indexeddb/auto'
import { IDBFactory } from 'fake-indexeddb'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { MemoryDisk } from '../../src/devices/block-backend.ts'
import { UnreliableFile } from '../../test/disk/unreliable-file.ts'
import { BLOCK } from './block-store.ts'
import { AttachedError, Disks, NotYoursError } from './disks.ts'

const ORIGIN = 'https://ours.example'
let names = 0
const fresh = () => `disk-${++names}`
const bytes = (value: number, blocks = 1) => new Uint8Array(blocks * BLOCK).fill(value)

/** Locks as one origin has them. */
class Locks {
  private readonly held = new Set<string>()
  async request(name: string, _: object, work: (lock: object | null) => Promise<void> | undefined) {
    if (this.held.has(name)) return work(null)
    this.held.add(name)
    await work({ name })
    this.held.delete(name)
  }
  query = async () => ({ held: [...this.held].map(name => ({ name })) })
}

/** A folder of OPFS, in memory. */
class Folder {
  private readonly entries_ = new Map<string, Folder | UnreliableFile>()
  private entry<T extends Folder | UnreliableFile>(name: string, create: boolean | undefined, make: () => T) {
    if (!this.entries_.has(name) && !create) throw new DOMException('not there', 'NotFoundError')
    if (!this.entries_.has(name)) this.entries_.set(name, make())
    return this.entries_.get(name) as T
  }
  getDirectoryHandle = async (name: string, { create }: { create?: boolean } = {}) =>
    this.entry(name, create, () => new Folder())
  getFileHandle = async (name: string, { create }: { create?: boolean } = {}) => {
    const file = this.entry(name, create, () => new UnreliableFile())
    const text = async () => {
      const bytes = new Uint8Array(file.getSize())
      file.read(bytes, { at: 0 })
      return new TextDecoder().decode(bytes)
    }
    return { createSyncAccessHandle: async () => file, getFile: async () => ({ text }) }
  }
  async *entries() {
    for (const [name, entry] of this.entries_)
      yield [name, Object.assign(entry, { kind: entry instanceof Folder ? 'directory' : 'file' })]
  }
  removeEntry = async (name: string) => void this.entries_.delete(name)
}
let root: Folder
beforeEach(() => {
  root = new Folder()
  vi.stubGlobal(
    'FileSystemFileHandle',
    class {
      createSyncAccessHandle() {}
    },
  )
  vi.stubGlobal('navigator', { locks: new Locks(), storage: { getDirectory: async () => root } })
})
afterEach(() => void vi.unstubAllGlobals())

const base = (id: string, value: number) => ({
  ...{ url: 'https://ours.example/base.img', id, size: 4 * BLOCK, disk: new MemoryDisk(bytes(value, 4)) },
})

test.each(['opfs', 'indexeddb'] as const)(
  '%s: changes to an image are refused over another version of it, and kept',
  async store => {
    const disks = await Disks.open()
    const name = fresh()
    const disk = await disks.attach(name, { origin: ORIGIN, store, base: base('sha256:one', 1) })
    await disk.write(BLOCK, bytes(9))
    await disk.close()
    await expect(disks.attach(name, { origin: ORIGIN, base: base('sha256:two', 2) })).rejects.toThrow(
      /holds changes to https:\/\/ours\.example\/base\.img as it was, and that image is another one now.*Export the disk, reset it, or use another name/s,
    )
    await expect(disks.attach(name, { origin: ORIGIN })).rejects.toThrow(/makes no sense without it/)
    const again = await disks.attach(name, { origin: ORIGIN, base: base('sha256:one', 1) })
    const found = bytes(0, 2)
    await again.read(0, found)
    expect([found[0], found[BLOCK]]).toEqual([1, 9])
    await again.close()
  },
)

test('a disk that stands alone is not put over an image', async () => {
  const disks = await Disks.open()
  const name = fresh()
  await (await disks.attach(name, { origin: ORIGIN, store: 'indexeddb', size: 4 * BLOCK })).close()
  await expect(disks.attach(name, { origin: ORIGIN, base: base('sha256:one', 1) })).rejects.toThrow(/stands alone/)
})

test('a disk is attached once, read-only as often as one likes; who has it is said', async () => {
  const disks = await Disks.open()
  const name = fresh()
  const options = { origin: ORIGIN, store: 'indexeddb', size: BLOCK } as const
  const disk = await disks.attach(name, { ...options, holder: 'my machine' })
  await expect(disks.attach(name, options)).rejects.toThrow(AttachedError)
  await expect(disks.attach(name, options)).rejects.toThrow(/in use by "my machine" in another tab/)
  await expect(disks.reset(name)).rejects.toThrow(AttachedError)
  await expect(disks.remove(name)).rejects.toThrow(AttachedError)
  const reader = await disks.attach(name, { ...options, readonly: true, holder: 'a reader' })
  expect((await disks.list()).find(entry => entry.name === name)).toMatchObject({
    attached: true,
    holder: 'my machine',
  })
  await reader.close()
  await disk.close()
  await new Promise(resolve => setTimeout(resolve))
  await (await disks.attach(name, options)).close()
})

test('another origin is let in only by name', async () => {
  const disks = await Disks.open()
  const name = fresh()
  const options = { store: 'indexeddb', size: BLOCK } as const
  await (await disks.attach(name, { ...options, origin: ORIGIN })).close()
  const theirs = { ...options, origin: 'https://theirs.example' }
  await expect(disks.attach(name, theirs)).rejects.toThrow(NotYoursError)
  await expect(disks.attach(name, { ...theirs, readonly: true })).rejects.toThrow(NotYoursError)
  await (await disks.attach(name, { ...theirs, letIn: true })).close()
  await (await disks.attach(name, theirs)).close()
  await expect(disks.attach(name, { ...options, origin: 'https://third.example' })).rejects.toThrow(NotYoursError)
})

test('a link that changes what a machine runs is let in only by a yes of its own, to a disk not made yet as well', async () => {
  const disks = await Disks.open()
  const name = fresh()
  const plain = { store: 'indexeddb', size: BLOCK, origin: ORIGIN } as const
  const linked = { ...plain, changes: `${ORIGIN}/m.json with cmdline "init=/bin/sh"` }
  await expect(disks.attach(name, linked)).rejects.toThrow(NotYoursError)
  expect((await disks.list()).some(entry => entry.name === name)).toBe(false)
  await (await disks.attach(name, plain)).close()
  await expect(disks.attach(name, linked)).rejects.toThrow(
    'belongs to machines from https://ours.example, and the link that starts this one changes what it runs: ' +
      'https://ours.example/m.json with cmdline "init=/bin/sh": only you can let it in',
  )
  await (await disks.attach(name, { ...linked, letIn: true })).close()
  await (await disks.attach(name, linked)).close()
  await (await disks.attach(name, plain)).close()
  await expect(disks.attach(name, { ...linked, changes: `${linked.changes}2` })).rejects.toThrow(NotYoursError)
  // An origin that was let in is not let in with changes.
  const theirs = { ...plain, origin: 'https://theirs.example' }
  await (await disks.attach(name, { ...theirs, letIn: true })).close()
  await expect(
    disks.attach(name, { ...theirs, changes: 'https://theirs.example/m.json with kernel "k"' }),
  ).rejects.toThrow('and this one is from https://theirs.example, and the link')
})

test.each(['opfs', 'indexeddb'] as const)(
  '%s: a disk grows, attached or not, over an image too, and stays so',
  async store => {
    const disks = await Disks.open()
    const name = fresh()
    const options = { origin: ORIGIN, store, base: base('sha256:one', 1) }
    const disk = await disks.attach(name, options)
    let told = 0
    disk.onResize = () => told++
    await disk.grow(6 * BLOCK)
    expect([disk.capacity, told]).toEqual([6 * BLOCK, 1])
    await disk.write(5 * BLOCK, bytes(9))
    await expect(disk.grow(BLOCK)).rejects.toThrow(/never shrinks/)
    await expect(disks.grow(name, 8 * BLOCK)).rejects.toThrow(AttachedError)
    await disk.close()
    await new Promise(resolve => setTimeout(resolve))
    await expect(disks.grow(name, 5 * BLOCK)).rejects.toThrow(`a disk never shrinks: it has ${6 * BLOCK} bytes`)
    await expect(disks.grow(name, 2 ** 42)).rejects.toThrow(/2 TiB at the most/)
    await expect(disks.grow(name, 8 * BLOCK + 1)).rejects.toThrow(/whole sectors/)
    await disks.grow(name, 8 * BLOCK)
    const again = await disks.attach(name, options)
    expect(again.capacity).toBe(8 * BLOCK)
    const found = bytes(7, 8)
    await again.read(0, found)
    expect(Array.from({ length: 8 }, (_, block) => found[block * BLOCK])).toEqual([1, 1, 1, 1, 0, 9, 0, 0])
    await again.close()
  },
)

test('a disk whose files are gone is refused, until it is reset', async () => {
  const disks = await Disks.open()
  const name = fresh()
  const options = { origin: ORIGIN, store: 'opfs', size: 4 * BLOCK } as const
  const disk = await disks.attach(name, options)
  await disk.write(0, bytes(1))
  await disk.close()
  root = new Folder() // the browser has forgotten what was in it
  await expect(disks.attach(name, options)).rejects.toThrow(/are gone.*Reset or delete the disk/)
  await disks.reset(name)
  const again = await disks.attach(name, options)
  const found = bytes(7)
  await again.read(0, found)
  expect(found[0]).toBe(0)
  await again.close()
  await disks.remove(name)
})

test('the disks on OPFS outlive the catalogue: their records are found beside their files', async () => {
  const disks = await Disks.open()
  const name = fresh()
  const options = { origin: ORIGIN, store: 'opfs', base: base('sha256:one', 1), holder: 'a machine' } as const
  const disk = await disks.attach(name, options)
  await disk.write(BLOCK, bytes(9))
  await disk.close()
  await (await disks.attach(name, { ...options, origin: 'https://friend.example', letIn: true })).close()
  const known = (await disks.list()).filter(entry => entry.name === name)
  // The browser found its databases damaged, and began anew.
  vi.stubGlobal('indexedDB', new IDBFactory())
  const later = await Disks.open()
  expect(await later.list()).toEqual(known)
  const again = await later.attach(name, { ...options, origin: 'https://friend.example' })
  const found = bytes(0, 2)
  await again.read(0, found)
  expect([found[0], found[BLOCK]]).toEqual([1, 9])
  await again.close()
  await later.remove(name)
  expect(await (await Disks.open()).list()).toEqual([])
})

test('a disk that is found while the database takes nothing new can be read all the same', async () => {
  const disks = await Disks.open()
  const name = fresh()
  const options = { origin: ORIGIN, store: 'opfs', size: 4 * BLOCK } as const
  const disk = await disks.attach(name, options)
  await disk.write(0, bytes(5))
  await disk.close()
  vi.stubGlobal('indexedDB', new IDBFactory())
  const full = vi.spyOn(IDBObjectStore.prototype, 'put').mockImplementation(() => {
    throw new DOMException('', 'QuotaExceededError')
  })
  const later = await Disks.open()
  full.mockRestore()
  const again = await later.attach(name, options)
  const found = bytes(0)
  await again.read(0, found)
  expect(found[0]).toBe(5)
  await again.close()
})

test('after a session that was not ended Chromium has to begin a new log, once', async () => {
  vi.resetModules()
  vi.stubGlobal('indexedDB', new IDBFactory())
  const begin = async () => (await import('./disks.ts')).Disks.open()
  const options = { origin: ORIGIN, store: 'indexeddb', size: BLOCK } as const
  await (await begin()).attach(fresh(), options)
  // The browser is killed: its locks are gone, and the disk was not closed.
  const storage = { getDirectory: async () => root }
  vi.stubGlobal('navigator', { locks: new Locks(), storage, userAgent: 'Mozilla/5.0 HeadlessChrome/156.0' })
  const open = vi.spyOn(indexedDB, 'open')
  const newLogs = () => open.mock.calls.filter(([name]) => name === 'ringlet-new-log').length
  vi.resetModules()
  const disks = await begin()
  expect(newLogs()).toBe(1)
  expect((await disks.list()).map(({ open }) => open)).toEqual([false])
  expect((await indexedDB.databases()).map(({ name }) => name)).not.toContain('ringlet-new-log')
  vi.resetModules()
  await begin()
  expect(newLogs()).toBe(1)
})
