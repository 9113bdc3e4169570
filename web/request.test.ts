import { afterEach, expect, test, vi } from 'vitest'
import { ownMachine, queryOf, wishOf, wishOfFiles } from './request.ts'

const base = 'https://ringlet.example/some/path/'
const own = { kernel: 'bzImage', cmdline: 'quiet', memory: 128, transport: 'pci' } as const

afterEach(() => void vi.restoreAllMocks())

test('an address without a machine or a kernel asks for nothing', async () => {
  expect(await wishOf(new URLSearchParams('from=elsewhere'), base)).toBeUndefined()
})

test('?kernel=… is a machine of that name whose URLs start from the page', async () => {
  const wish = await wishOf(new URLSearchParams('kernel=k/bzImage&initrd=/i&memory=64&transport=pci-legacy'), base)
  expect(wish?.machine).toMatchObject({
    name: 'bzImage',
    memory: 64,
    kernel: { url: 'https://ringlet.example/some/path/k/bzImage' },
    initrd: { url: 'https://ringlet.example/i' },
  })
  expect(new Set(wish?.machine.devices.map(device => device.transport))).toEqual(new Set(['pci-legacy']))
})

test('?machine=… is fetched, and its URLs start from the description', async () => {
  const fetched = vi.spyOn(globalThis, 'fetch').mockResolvedValueOnce(new Response('{"kernel": "../guest/bzImage"}'))
  const wish = await wishOf(new URLSearchParams('machine=machines/mine.json&transport=pci'), base)
  expect(fetched.mock.calls[0]?.[0]).toBe(`${base}machines/mine.json`)
  expect(wish?.machine.kernel?.url).toBe(`${base}guest/bzImage`)
  expect(wish?.machine.devices[0]?.transport).toBe('pci')
})

test('a transport that does not exist is refused by name', async () => {
  await expect(wishOf(new URLSearchParams('kernel=k&transport=isa'), base)).rejects.toThrow(/transport/)
})

test('the address made from the form asks for the same machine', async () => {
  const asked = await wishOf(new URLSearchParams(queryOf(own)), base)
  expect(asked?.machine).toEqual(ownMachine(own, base).machine)
})

test('files of the user’s are handed over by name, and have no address', () => {
  const kernel = new File(['k'], 'vmlinuz')
  const initrd = new File(['i'], 'initrd.img')
  const wish = ownMachine({ ...own, kernel, initrd }, base)
  expect(wish.machine).toMatchObject({
    name: 'vmlinuz',
    kernel: { url: 'file:kernel' },
    initrd: { url: 'file:initrd' },
  })
  expect(wish.files).toEqual({ kernel, initrd })
  expect(queryOf({ ...own, kernel })).toBeUndefined()
})

test('a dropped description finds the files dropped with it', async () => {
  const description = new File(['{"kernel": "file:vmlinuz"}'], 'mine.json')
  const kernel = new File(['k'], 'vmlinuz')
  const wish = await wishOfFiles(description, [description, kernel], base)
  expect(wish.machine.kernel?.url).toBe('file:vmlinuz')
  expect(wish.files?.['vmlinuz']).toBe(kernel)
  await expect(wishOfFiles(new File(['<'], 'x.json'), [], base)).rejects.toThrow(/x\.json is not a machine description/)
})
