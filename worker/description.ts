/** The machine description: one JSON document that says what a machine is made of. `docs/machine.md` explains it. */

import * as v from 'valibot'
import {
  described,
  type FileSource,
  source,
  sourceEntries,
  type Transport,
  transport,
  url,
  wholeNumber,
} from './description/device.ts'
import { deviceSchemas } from './description/devices.ts'

export type { FileSource, Transport } from './description/device.ts'
export { transports } from './description/device.ts'

export const descriptionSchema = v.pipe(
  v.strictObject({
    $schema: v.optional(described('The address of this schema, for editors.', v.string())),
    name: v.optional(described('What the page calls the machine.', v.string())),
    memory: v.optional(described('RAM in MiB.', wholeNumber(8, 2047)), 256),
    kernel: v.optional(source('A Linux kernel for 32-bit x86: bzImage or vmlinux.')),
    initrd: v.optional(source('Its initial RAM disk: a cpio archive, compressed or not.')),
    cmdline: v.optional(described('Appended to the kernel command line the machine makes.', v.string()), ''),
    bios: v.optional(
      described(
        'A BIOS image to start instead of a kernel: SeaBIOS.',
        v.pipe(
          v.union([url, v.strictObject({ ...sourceEntries, vga: v.optional(source('Its VGA BIOS.')) })]),
          v.transform((value): BiosSource => (typeof value === 'string' ? { url: value } : value)),
        ),
      ),
    ),
    cdrom: v.optional(source('An ISO image in the CD drive: a BIOS starts from it before any disk.')),
    transport: v.optional(
      described(
        'For every device that does not say its own: mmio with a kernel, pci-transitional with a BIOS unless given.',
        transport,
      ),
    ),
    devices: v.optional(
      described('In the order the guest finds them.', v.array(v.variant('type', deviceSchemas))),
      () => [{ type: 'console' as const }, { type: 'entropy' as const }],
    ),
  }),
  v.forward(
    v.check(({ kernel, bios }) => !kernel !== !bios, 'give either a kernel or a bios'),
    ['kernel'],
  ),
)

type BiosSource = FileSource & { readonly vga?: FileSource | undefined }
type Parsed = v.InferOutput<typeof descriptionSchema>
/** What a document may say. */
export type DescriptionInput = v.InferInput<typeof descriptionSchema>
/** One device, its transport filled in. */
export type DeviceDescription = Parsed['devices'][number] & { readonly transport: Transport }
/** A description ready to be built: defaults filled in, sources in object form, every `url` absolute. */
export type MachineDescription = Omit<Parsed, 'devices' | '$schema' | 'transport'> & {
  readonly transport: Transport
  readonly devices: readonly DeviceDescription[]
}

/** The document says something that cannot be. One line a fault, each naming the place. */
export class DescriptionError extends Error {
  override name = 'DescriptionError'
}

/**
 * Checks a document and fills it in. URLs come out absolute, resolved against `base` (the document's own URL).
 * Fails with `DescriptionError`.
 */
export function parseDescription(document: unknown, base: string): MachineDescription {
  const result = v.safeParse(descriptionSchema, document)
  if (!result.success) throw new DescriptionError(result.issues.map(explain).join('\n'))
  const { $schema, devices, ...rest } = result.output
  // A BIOS knows only what is on PCI.
  const transport = rest.transport ?? (rest.bios ? 'pci-transitional' : 'mmio')
  return resolveUrls(
    { ...rest, transport, devices: devices.map(device => ({ ...device, transport: device.transport ?? transport })) },
    base,
    '',
  )
}

/** Every string called `url`, wherever it stands, so that a device's schema has nothing to do for it. */
function resolveUrls<T>(value: T, base: string, path: string): T {
  if (Array.isArray(value)) return value.map((item, i) => resolveUrls(item, base, `${path}[${i}]`)) as T
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => {
      const at = path ? `${path}.${key}` : key
      return [key, key === 'url' && typeof item === 'string' ? absolute(item, base, at) : resolveUrls(item, base, at)]
    }),
  ) as T
}

function absolute(url: string, base: string, path: string): string {
  if (/^file:[^/]/.test(url)) return url
  if (!URL.canParse(url, base)) throw new DescriptionError(`${path}: "${url}" is not a URL`)
  return new URL(url, base).href
}

/** One line for one fault: the place, then what is wrong there. */
function explain(issue: v.BaseIssue<unknown>): string {
  // Of the forms a value may have, the one that it comes closest to tells what is wrong inside.
  const inside = issue.type === 'union' ? issue.issues?.find(({ path }) => path) : undefined
  const fault = inside ?? issue
  const path = [...(issue.path ?? []), ...(inside?.path ?? [])].reduce(
    (at, { key }) => (typeof key === 'number' ? `${at}[${key}]` : at ? `${at}.${String(key)}` : String(key)),
    '',
  )
  return `${path || 'the document'}: ${complaint(fault)}`
}

const words: Record<string, string> = {
  Object: 'an object',
  Array: 'a list',
  string: 'text',
  number: 'a number',
  boolean: 'true or false',
}

function complaint({ kind, type, expected, received, message }: v.BaseIssue<unknown>): string {
  if (kind === 'validation') return message
  if (expected === 'never') return 'there is no such entry; check its spelling'
  if (received === 'undefined' && type === 'strict_object') return 'is missing'
  const choices = (expected ?? '').replace(/[()]/g, '').split(' | ')
  const wanted =
    expected !== 'Object' && (type === 'picklist' || type === 'variant')
      ? `use one of ${choices.join(', ')}`
      : `it must be ${choices.map(choice => words[choice] ?? choice).join(' or ')}`
  return `${received === 'undefined' ? 'is missing' : `${words[received] ?? received} will not do`}: ${wanted}`
}
