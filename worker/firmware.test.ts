import { expect, test } from 'vitest'
import { prepareFirmware } from './firmware.ts'

const bios = new Uint8Array(0x20000)
bios[bios.length - 16] = 0xea
const vga = Uint8Array.of(0x55, 0xaa, 0)
const files = { bios, vga, text: new TextEncoder().encode('hello'), page: new TextEncoder().encode('<!doctype html>') }
const openFile = async (url: string) => {
  const bytes = files[url.slice(5) as keyof typeof files]
  return bytes && new Blob([bytes])
}
const prepare = (main: string, display?: string) =>
  prepareFirmware({ bios: { url: `file:${main}`, ...(display && { vga: { url: `file:${display}` } }) }, openFile })

test('a BIOS and its VGA BIOS are taken as they are', async () => {
  const firmware = await prepare('bios', 'vga')
  expect(Buffer.compare(firmware.bios, bios)).toBe(0)
  expect(firmware.vga).toEqual(vga)
})

test.each([
  ['text', undefined, /not one but text, starting with "hello"\. Use SeaBIOS: "npm run bios"/],
  ['vga', undefined, /not one but/],
  ['bios', 'text', /The file given as the VGA BIOS is not an option ROM but text/],
  ['page', undefined, /web page instead of the BIOS.*"npm run bios"/],
  ['none', undefined, /There is no file none for the BIOS.*"npm run bios"/],
])('%s with VGA BIOS %s is refused with a reason', async (main, display, message) => {
  await expect(prepare(main, display)).rejects.toThrow(message)
})
