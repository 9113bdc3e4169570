import { afterEach, expect, test, vi } from 'vitest'
import { ownMachine, queryOf, wishOf, wishOfFiles, wishOfMedium } from './request.ts'

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

test('?cdrom=… boots by the site’s BIOS, or by another', async () => {
  const machine = async (query: string) => (await wishOf(new URLSearchParams(query), base))?.machine
  expect(await machine('cdrom=https://mirror.example/debian.iso')).toMatchObject({
    name: 'debian.iso',
    bios: { url: `${base}bios/bios-256k.bin` },
    cdrom: { url: 'https://mirror.example/debian.iso' },
  })
  expect(await machine('cdrom=/a.iso&bios=/b.bin')).toMatchObject({ bios: { url: 'https://ringlet.example/b.bin' } })
  expect((await machine('cdrom=/a.iso&kernel=k'))?.bios).toBeUndefined()
})

test('who asks for a BIOS does not get the kernel of the description', async () => {
  const document = '{"kernel": "k", "initrd": "i", "cmdline": "quiet", "memory": 64}'
  vi.spyOn(globalThis, 'fetch').mockImplementation(async () => new Response(document))
  const wish = await wishOf(new URLSearchParams('machine=m.json&bios=b.bin'), base)
  expect(wish?.machine).toMatchObject({ memory: 64, bios: { url: `${base}b.bin` }, cmdline: '' })
  expect(wish?.machine.kernel).toBeUndefined()
})

test('a dropped CD or disk image boots by the site’s BIOS; kernels and anything else do not', async () => {
  const image = (name: string, ...marks: [number, string][]) => {
    const bytes = new Uint8Array(40_000)
    for (const [at, text] of marks)
      bytes.set(
        Uint8Array.from(text, c => c.charCodeAt(0)),
        at,
      )
    return new File([bytes], name)
  }
  const bootable: [number, string] = [0x1fe, '\x55\xaa']
  const cd = await wishOfMedium([image('d.iso', [0x8001, 'CD001'], bootable)], base)
  expect(cd?.machine).toMatchObject({ bios: { url: `${base}bios/bios-256k.bin` }, cdrom: { url: 'file:d.iso' } })
  const disk = await wishOfMedium([image('d.img', bootable)], base)
  expect(disk?.machine.devices[0]).toMatchObject({ type: 'block', image: { url: 'file:d.img' } })
  expect(disk?.machine.cdrom).toBeUndefined()
  expect(Object.keys(disk?.files ?? {})).toEqual(['d.img'])
  const kernel = image('bzImage', bootable, [0x202, 'HdrS'])
  for (const files of [[kernel], [image('x')], [image('a.img', bootable), kernel]])
    expect(await wishOfMedium(files, base)).toBeUndefined()
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

test('a machine is from where its description is, or what an address puts in its place', async () => {
  const fetched = vi.spyOn(globalThis, 'fetch').mockImplementation(async () => new Response('{"kernel": "bzImage"}'))
  const originOf = async (query: string) => (await wishOf(new URLSearchParams(query), base))?.origin
  expect(await originOf('machine=mine.json')).toBe('https://ringlet.example')
  expect(await originOf('machine=mine.json&kernel=other&initrd=file:picked')).toBe('https://ringlet.example')
  expect(await originOf('machine=https://elsewhere.example/m.json')).toBe('https://elsewhere.example')
  expect(await originOf('machine=mine.json&kernel=https://elsewhere.example/k')).toBe('https://elsewhere.example')
  expect(await originOf('machine=mine.json&initrd=//elsewhere.example/i')).toBe('https://elsewhere.example')
  fetched.mockImplementation(async () => new Response('{"kernel": "https://ringlet.example/k"}'))
  expect(await originOf('machine=data:application/json,{}')).toBe('null')
  const dropped = await wishOfFiles(new File(['{"kernel": "file:vmlinuz"}'], 'mine.json'), [], base)
  expect(dropped.origin).toBe('a file')
})

test('what an address runs in place of what its description says is named; its size and transport are nothing of the kind', async () => {
  vi.spyOn(globalThis, 'fetch').mockImplementation(async () => new Response('{"kernel": "bzImage"}'))
  const changesOf = async (query: string) => (await wishOf(new URLSearchParams(query), base))?.changes
  expect(await changesOf('machine=mine.json&memory=64&transport=pci')).toBeUndefined()
  expect(await changesOf('machine=mine.json&cmdline=init=/bin/sh')).toBe(
    'https://ringlet.example/some/path/mine.json with cmdline "init=/bin/sh"',
  )
  expect(await changesOf('machine=mine.json&cmdline=')).toMatch(/ with cmdline ""$/)
  expect(await changesOf('machine=mine.json&kernel=/k&initrd=file:i')).toMatch(
    / with kernel "https:\/\/ringlet.example\/k", initrd "file:i"$/,
  )
  expect(await changesOf('machine=mine.json&cdrom=a.iso')).toMatch(/ with cdrom "/)
  expect(await changesOf('machine=mine.json&bios=b.bin')).toMatch(/ with bios "/)
  expect(await changesOf('kernel=k&cmdline=init=/bin/sh')).toBeUndefined()
})
