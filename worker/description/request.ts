/** Which machine an address asks for: `?machine=URL`, `?kernel=…&initrd=…&cmdline=…&memory=…&transport=…`, or both. */

import { DescriptionError, type DescriptionInput, type MachineDescription, parseDescription } from '../description.ts'
import { type LoadOptions, load } from '../loader.ts'

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
  const overrides = Object.fromEntries(
    Object.entries({
      kernel: url('kernel'),
      initrd: url('initrd'),
      cmdline: query.get('cmdline'),
      memory: memory === null || !Number.isFinite(Number(memory)) ? memory : Number(memory),
      transport: query.get('transport'),
    }).filter(([, value]) => value !== null),
  )
  const document = url('machine') ?? (overrides['kernel'] ? null : new URL(fallback, base).href)
  if (!query.get('machine') && Object.keys(overrides).length === 0) return undefined
  return { overrides, ...(document !== null && { document }) }
}

/** Fails with `LoadError` or `DescriptionError`. */
export async function describeMachine(
  { document, overrides }: MachineRequest,
  options: Omit<LoadOptions, 'what' | 'progress'> = {},
): Promise<MachineDescription> {
  if (document === undefined) return parseDescription(overrides, 'file:///')
  const bytes = await load({ url: document }, { ...options, what: 'the machine description' })
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (reason) {
    throw new DescriptionError(`${document} is not a JSON document: ${(reason as Error).message}`, { cause: reason })
  }
  return parseDescription(isObject(json) ? { ...json, ...overrides } : json, document)
}

const isObject = (json: unknown): json is object => typeof json === 'object' && json !== null && !Array.isArray(json)
