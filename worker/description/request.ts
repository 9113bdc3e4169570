/** Which machine an address asks for: `?machine=URL`, `?kernel=…&initrd=…&cmdline=…`, `?cdrom=…&bios=…`, or changes to one. */

import { DescriptionError, type DescriptionInput, type MachineDescription, parseDescription } from '../description.ts'
import { type LoadOptions, load } from '../loader.ts'

/** Where a site has its BIOS, if it has one. */
export const SITE_BIOS = 'bios/bios-256k.bin'

export interface MachineRequest {
  /** Where the document is, absolute; without it the overrides are all there is. */
  readonly document?: string
  /** What stands in for the document's own entries; URLs absolute. */
  readonly overrides: { readonly [K in keyof DescriptionInput]?: unknown }
}

/**
 * Reads a query's parameters. URLs in it resolve against `base`, the page's own address. Nothing in it that concerns a
 * machine: undefined. Only changes (`?memory=512`): they apply to `fallback`, the document of the ready-made machine.
 * Fails with `DescriptionError`.
 */
export function fromQuery(query: URLSearchParams, base: string, fallback: string): MachineRequest | undefined {
  const url = (name: string) => {
    const value = query.get(name)
    if (value === null || /^file:[^/]/.test(value)) return value
    if (!URL.canParse(value, base)) throw new DescriptionError(`${name}: "${value}" is not a URL`)
    return new URL(value, base).href
  }
  const memory = query.get('memory')
  const [kernel, cdrom] = [url('kernel'), url('cdrom')]
  const bios =
    url('bios') ?? (cdrom !== null && !kernel && !query.get('machine') ? new URL(SITE_BIOS, base).href : null)
  const overrides = Object.fromEntries(
    Object.entries({
      ...{ kernel, bios, cdrom },
      initrd: url('initrd'),
      cmdline: query.get('cmdline'),
      memory: memory === null || !Number.isFinite(Number(memory)) ? memory : Number(memory),
      transport: query.get('transport'),
    }).filter(([, value]) => value !== null),
  )
  const document = url('machine') ?? (kernel || bios ? null : new URL(fallback, base).href)
  if (!query.get('machine') && Object.keys(overrides).length === 0) return undefined
  return { overrides, ...(document !== null && { document }) }
}

/** What a machine runs. Its size and its transports are not among them: the guest stays the one that was described. */
const runs = ['kernel', 'initrd', 'cmdline', 'bios', 'cdrom'] as const

/** What a query puts in place of what the document runs, in words; undefined where it leaves that alone. */
export function changesOf({ document, overrides }: MachineRequest): string | undefined {
  if (document === undefined) return undefined
  const changes = runs.filter(name => name in overrides).map(name => `${name} ${JSON.stringify(overrides[name])}`)
  return changes.length > 0 ? `${document} with ${changes.join(', ')}` : undefined
}

type Options = Omit<LoadOptions, 'what' | 'progress'>

/** Fails with `LoadError` or `DescriptionError`. */
export async function describeMachine(request: MachineRequest, options: Options = {}): Promise<MachineDescription> {
  const { document, overrides } = request
  if (document === undefined) return parseDescription(overrides, 'file:///')
  const json = await loadDocument(document, options)
  if (!isObject(json)) return parseDescription(json, document)
  const { devices } = json
  // Who asks for a transport asks for it everywhere.
  const everywhere = 'transport' in overrides && Array.isArray(devices) && { devices: devices.map(withoutTransport) }
  // A machine starts with one thing: who names another names it instead.
  const instead = {
    ...('kernel' in overrides && { bios: undefined }),
    ...('bios' in overrides && { kernel: undefined, initrd: undefined, cmdline: undefined }),
  }
  return parseDescription({ ...json, ...everywhere, ...instead, ...overrides }, document)
}

/** A JSON document as it is. Fails with `LoadError` or `DescriptionError`. */
export async function loadDocument(url: string, options: Options = {}): Promise<unknown> {
  const bytes = await load({ url }, { ...options, what: 'the machine description' })
  return readDocument(new TextDecoder().decode(bytes), url)
}

/** `name` is what the document is called in a message. Fails with `DescriptionError`. */
export function readDocument(text: string, name: string): unknown {
  try {
    return JSON.parse(text)
  } catch (reason) {
    throw new DescriptionError(`${name} is not a machine description: it is not JSON (${(reason as Error).message}).`)
  }
}

const isObject = (json: unknown): json is Record<string, unknown> =>
  typeof json === 'object' && json !== null && !Array.isArray(json)

const withoutTransport = (device: unknown) => (isObject(device) ? { ...device, transport: undefined } : device)
