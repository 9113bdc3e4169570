/** The machine description: one JSON document that says what a machine is made of. `docs/machine.md` explains it. */

import * as v from 'valibot'
import { described, source, sourceEntries, type Transport, transport } from './description/device.ts'
import { deviceSchemas } from './description/devices.ts'

export type { FileSource, Transport } from './description/device.ts'
export { transports } from './description/device.ts'

export const descriptionSchema = v.pipe(
  v.strictObject({
    $schema: v.optional(described('The address of this schema, for editors.', v.string())),
    name: v.optional(described('What the page calls the machine.', v.string())),
    memory: v.optional(
      described(
        'RAM in MiB.',
        v.pipe(
          v.number(),
          v.integer('must be a whole number of MiB'),
          v.minValue(8, 'is too little: no Linux starts in less than 8 MiB'),
          v.maxValue(2047, 'is too much: this machine has less than 2048 MiB'),
        ),
      ),
      256,
    ),
    kernel: v.optional(described('A Linux kernel for 32-bit x86: bzImage or vmlinux.', source)),
    initrd: v.optional(described('Its initial RAM disk: a cpio archive, compressed or not.', source)),
    cmdline: v.optional(described('Appended to the kernel command line the machine makes.', v.string()), ''),
    bios: v.optional(
      described(
        'A BIOS image to start instead of a kernel.',
        v.strictObject({ ...sourceEntries, vga: v.optional(described('Its VGA BIOS.', source)) }),
      ),
    ),
    cdrom: v.optional(described('An ISO image for the BIOS to start from.', source)),
    transport: v.optional(described('For every device that does not say its own.', transport), 'mmio'),
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

type Parsed = v.InferOutput<typeof descriptionSchema>
/** What a document may say. */
export type DescriptionInput = v.InferInput<typeof descriptionSchema>
/** One device, its transport filled in. */
export type DeviceDescription = Parsed['devices'][number] & { readonly transport: Transport }
/** A description ready to be built: defaults filled in, sources in object form, every `url` absolute. */
export type MachineDescription = Omit<Parsed, 'devices' | '$schema'> & {
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
  return resolveUrls(
    { ...rest, devices: devices.map(device => ({ ...device, transport: device.transport ?? rest.transport })) },
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

type Issue = v.InferIssue<typeof descriptionSchema>

function explain(issue: Issue): string {
  const path = (issue.path ?? []).reduce(
    (at, { key }) => (typeof key === 'number' ? `${at}[${key}]` : at ? `${at}.${String(key)}` : String(key)),
    '',
  )
  return `${path || 'the document'}: ${issue.message}`
}
