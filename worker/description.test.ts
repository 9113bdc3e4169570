import { readFileSync, statSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { jsonSchema, schemaFile } from '../cli/schema.ts'
import { describeMachine, fromQuery } from './description/request.ts'
import { parseDescription } from './description.ts'

const base = 'https://example.org/machines/one.json'

describe('a machine description', () => {
  it('needs no more than a kernel', () => {
    expect(parseDescription({ kernel: '../bzImage' }, base)).toEqual({
      memory: 256,
      kernel: { url: 'https://example.org/bzImage' },
      cmdline: '',
      transport: 'mmio',
      devices: [
        { type: 'console', transport: 'mmio' },
        { type: 'entropy', transport: 'mmio' },
      ],
    })
  })
  it('gives its transport to devices that do not say theirs', () => {
    const devices = [{ type: 'entropy' }, { type: 'console', transport: 'pci-legacy' }]
    const { devices: parsed } = parseDescription({ kernel: 'k', transport: 'pci', devices }, base)
    expect(parsed.map(({ transport }) => transport)).toEqual(['pci', 'pci-legacy'])
  })
  it('puts devices where a BIOS finds them, unless told otherwise', () => {
    const transports = (more: object) =>
      parseDescription({ bios: 'seabios.bin', ...more }, base).devices.map(({ transport }) => transport)
    expect(transports({})).toEqual(['pci-transitional', 'pci-transitional'])
    expect(transports({ transport: 'pci' })).toEqual(['pci', 'pci'])
    expect(parseDescription({ bios: 'seabios.bin' }, base).bios).toEqual({
      url: 'https://example.org/machines/seabios.bin',
    })
  })
  it('resolves every URL against itself, and leaves the user’s files', () => {
    const sha256 = 'a'.repeat(64)
    const document = { bios: { url: '/bios.bin', vga: { url: 'vga.bin', sha256 } }, cdrom: 'file:disc.iso' }
    expect(parseDescription(document, base)).toMatchObject({
      bios: { url: 'https://example.org/bios.bin', vga: { url: 'https://example.org/machines/vga.bin', sha256 } },
      cdrom: { url: 'file:disc.iso' },
    })
  })

  it.each<[string, unknown, string]>([
    ['nothing to start', {}, 'kernel: give either a kernel or a bios'],
    ['two things to start', { kernel: 'k', bios: { url: 'b' } }, 'kernel: give either a kernel or a bios'],
    ['no object', 3, 'the document: 3 will not do: it must be an object'],
    ['a misspelt entry', { kernel: 'k', memry: 3 }, 'memry: there is no such entry; check its spelling'],
    ['a wrong kind', { kernel: 'k', memory: '1G' }, 'memory: "1G" will not do: it must be a number'],
    ['too much', { kernel: 'k', memory: 4096 }, 'memory: must be at most 2047'],
    ['a fraction', { kernel: 'k', memory: 8.5 }, 'memory: must be a whole number'],
    [
      'an unknown transport',
      { kernel: 'k', devices: [{ type: 'console' }, { type: 'entropy', transport: 'isa' }] },
      'devices[1].transport: "isa" will not do: use one of "mmio", "mmio-legacy", "pci", "pci-transitional", "pci-legacy"',
    ],
    [
      'an unknown device',
      { kernel: 'k', devices: [{ type: 'toaster' }] },
      /^devices\[0\]\.type: "toaster" will not do: use one of .*"console", "entropy"/,
    ],
    [
      'a device without a type',
      { kernel: 'k', devices: [{}] },
      /^devices\[0\]\.type: is missing: use one of .*"console"/,
    ],
    [
      'a port without a name',
      { kernel: 'k', devices: [{ type: 'console', ports: [{}] }] },
      'devices[0].ports[0].name: is missing',
    ],
    ['a wrong checksum', { kernel: { url: 'k', sha256: 'x' } }, 'kernel.sha256: must be 64 hexadecimal digits'],
    ['a source that is none', { kernel: 3 }, 'kernel: 3 will not do: it must be text or an object'],
    ['a source without a URL', { kernel: { size: 3 } }, 'kernel.url: is missing'],
    ['a bad URL', { kernel: 'http://[' }, 'kernel.url: "http://[" is not a URL'],
    [
      'a bad feature',
      { kernel: 'k', devices: [{ type: 'entropy', features: { mask: ['x'] } }] },
      'devices[0].features.mask[0]: must be a feature’s name',
    ],
    [
      'a bad queue size',
      { kernel: 'k', devices: [{ type: 'entropy', queueSize: 3 }] },
      'devices[0].queueSize: must be a power of 2',
    ],
    [
      'several faults',
      { kernel: 'k', memory: 0, name: 1 },
      'name: 1 will not do: it must be text\nmemory: must be at least 8',
    ],
  ] as [string, unknown, string][])('names the place of %s', (_, document, message) => {
    expect(() => parseDescription(document, base)).toThrow(message)
    expect(() => parseDescription(document, base)).toThrow(expect.objectContaining({ name: 'DescriptionError' }))
  })

  it('has its JSON Schema published (npx tsx cli/schema.ts writes it)', () => {
    expect(readFileSync(schemaFile, 'utf8')).toBe(jsonSchema())
  })
  it('is what the ready-made machines have, whose list says how much is downloaded', () => {
    const machines = new URL('../public/machines/', import.meta.url)
    const read = (name: string) => JSON.parse(readFileSync(new URL(name, machines), 'utf8'))
    for (const { machine, download } of read('index.json').machines) {
      const { name, kernel, initrd } = parseDescription(read(machine), machines.href)
      expect(name).toBeTruthy()
      const size = statSync(new URL(kernel!.url)).size + statSync(new URL(initrd!.url)).size
      // As far as the page shows it: in tenths of a megabyte.
      expect((download / 1e6).toFixed(1)).toBe((size / 1e6).toFixed(1))
    }
  })
})

describe('a query', () => {
  const page = 'https://example.org/app/?x'
  const read = (query: string) => fromQuery(new URLSearchParams(query), page, 'machines/default.json')

  it.each<[string, unknown]>([
    ['', undefined],
    ['?theme=dark', undefined],
    ['?machine=m.json', { document: 'https://example.org/app/m.json', overrides: {} }],
    [
      '?machine=https://b.example/m.json&memory=512',
      { document: 'https://b.example/m.json', overrides: { memory: 512 } },
    ],
    [
      '?kernel=/k&initrd=file:i.gz&cmdline=quiet%20ro&transport=pci',
      { overrides: { kernel: 'https://example.org/k', initrd: 'file:i.gz', cmdline: 'quiet ro', transport: 'pci' } },
    ],
    ['?transport=pci', { document: 'https://example.org/app/machines/default.json', overrides: { transport: 'pci' } }],
  ])('%s', (query, request) => {
    expect(read(query)).toEqual(request)
  })
  it('is refused where it cannot be', async () => {
    expect(() => read('?machine=http://[')).toThrow('machine: "http://[" is not a URL')
    await expect(describeMachine(read('?kernel=k&memory=lots')!)).rejects.toThrow('memory: "lots" will not do')
  })

  const document = (text: string) => ({ openFile: async () => new Blob([text]) })
  it('changes the document it names, whose URLs stay its own', async () => {
    const request = { document: 'file:///etc/m.json', overrides: { kernel: 'https://example.org/k', memory: 64 } }
    const text = JSON.stringify({ kernel: 'k', initrd: 'i', memory: 32 })
    expect(await describeMachine(request, document(text))).toMatchObject({
      memory: 64,
      kernel: { url: 'https://example.org/k' },
      initrd: { url: 'file:///etc/i' },
    })
  })
  it('has its transport for every device', async () => {
    const text = JSON.stringify({ kernel: 'k', devices: [{ type: 'entropy', transport: 'mmio' }] })
    const machine = await describeMachine(
      { document: 'file:///m.json', overrides: { transport: 'pci' } },
      document(text),
    )
    expect(machine.devices).toEqual([{ type: 'entropy', transport: 'pci' }])
  })
  it.each([
    ['{ "kernel": ', 'file:///m.json is not a machine description: it is not JSON'],
    ['3', 'the document: 3 will not do: it must be an object'],
    ['<!doctype html>', 'is a web page instead of the machine description'],
  ])('says what is wrong with a document %s', async (text, message) => {
    await expect(describeMachine({ document: 'file:///m.json', overrides: {} }, document(text))).rejects.toThrow(
      message,
    )
  })
})
