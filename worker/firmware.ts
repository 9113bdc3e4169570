/** A BIOS to start from: downloaded, and looked at before the machine jumps into it. */

import { BootError } from '../src/boot/plan.ts'
import { describeFile } from '../src/boot/recognise.ts'
import type { FileSource } from './description.ts'
import type { BootProgress } from './linux.ts'
import { LoadError, type LoadOptions, load } from './loader.ts'
import type { Firmware } from './v86.ts'

export interface FirmwareRequest extends Pick<LoadOptions, 'openFile' | 'signal'> {
  readonly bios: FileSource & { readonly vga?: FileSource | undefined }
  readonly progress?: (progress: BootProgress) => void
}

const UNIT = 64 << 10
/** What a BIOS can cover of the end of the address space. */
const LARGEST = 16 << 20
/** The processor's first instruction is 16 bytes before the end: a far jump. */
const FAR_JUMP = 0xea
/** PCI Firmware Specification 3.0, §5.1: an option ROM's first two bytes. */
const OPTION_ROM = [0x55, 0xaa]

const fetched = (source: FileSource, options: LoadOptions) =>
  load(source, options).catch(error => {
    if (error instanceof LoadError) error.message += ' "npm run bios" puts SeaBIOS into the site’s folder bios/.'
    throw error
  })

/** Fails with `LoadError` or `BootError`, or with the signal's reason. */
export async function prepareFirmware({ bios, progress, ...options }: FirmwareRequest): Promise<Firmware> {
  const [image, vga] = await Promise.all([
    fetched(bios, {
      ...options,
      what: 'the BIOS',
      progress: (done, total) =>
        progress?.({ what: 'BIOS', phase: 'download', done, ...(total !== undefined && { total }) }),
    }),
    bios.vga && load(bios.vga, { ...options, what: 'the VGA BIOS' }),
  ])
  progress?.({ what: 'BIOS', phase: 'done', done: image.length, total: image.length })
  if (image.length === 0 || image.length % UNIT !== 0 || image.length > LARGEST || image.at(-16) !== FAR_JUMP)
    throw new BootError(
      `The file given as the BIOS is not one but ${describeFile(image)}. ` +
        'Use SeaBIOS: "npm run bios" takes it from Debian’s package.',
    )
  if (vga && OPTION_ROM.some((byte, i) => vga[i] !== byte))
    throw new BootError(`The file given as the VGA BIOS is not an option ROM but ${describeFile(vga)}. Leave it out.`)
  return { bios: image, vga }
}
