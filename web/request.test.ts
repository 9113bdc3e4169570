import { expect, test, vi } from 'vitest'
import { fetchMachine, ownMachine, queryOf, readMachine, wishOf } from './request.ts'

const base = 'https://ringlet.example/some/path/'
const own = { kernel: 'bzImage', cmdline: 'quiet', memory: 128, transport: 'pci' } as const

test('an address without a machine or a kernel asks for nothing', async () => {
  expect(await wishOf(new URLSearchParams('theme=dark'), base)).toBeUndefined()
})

test('?kernel=… is a machine whose URLs start from the page', async () => {
  const wish = await wishOf(new URLSearchParams('kernel=k/bzImage&initrd=/i&memory=64&transport=pci-legacy'), base)
  expect(wish?.machine).toMatchObject({
    name: 'bzImage',
    memory: 64,
    kernel: { url: 'https://ringlet.example/some/path/k/bzImage' },
    initrd: { url: 'https://ringlet.example/i' },
    transport: 'pci-legacy',
  })
  expect(wish?.machine.devices.map(device => device.transport)).toEqual(['pci-legacy', 'pci-legacy'])
})

test('a transport that does not exist is refused by name', async () => {
  await expect(wishOf(new URLSearchParams('kernel=k&transport=isa'), base)).rejects.toThrow(/transport/)
})

test('the address made from the form asks for the same machine', async () => {
  const query = queryOf(own)
  const asked = await wishOf(new URLSearchParams(query), base)
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

test('relative URLs of a description start from the description', () => {
  const { machine } = readMachine('{"kernel": "../guest/bzImage"}', `${base}machines/default.json`)
  expect(machine.kernel?.url).toBe('https://ringlet.example/some/path/guest/bzImage')
})

test('?transport= stands in for the description’s own', () => {
  const { machine } = readMachine('{"kernel": "k", "transport": "mmio"}', base, 'pci')
  expect(machine.devices.every(device => device.transport === 'pci')).toBe(true)
})

test('a description that is not JSON, cannot be fetched, or is not there, is refused with a reason', async () => {
  expect(() => readMachine('<!doctype html>', base)).toThrow(/not JSON/)
  const fetched = vi.spyOn(globalThis, 'fetch')
  fetched.mockRejectedValueOnce(new TypeError('Failed to fetch'))
  await expect(fetchMachine(base)).rejects.toThrow(/Access-Control-Allow-Origin/)
  fetched.mockResolvedValueOnce(new Response('', { status: 404, statusText: 'Not Found' }))
  await expect(fetchMachine(base)).rejects.toThrow(/404 Not Found/)
})
