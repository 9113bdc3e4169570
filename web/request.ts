import {
  type DescriptionInput,
  type MachineDescription,
  parseDescription,
  type Transport,
} from '../worker/description.ts'

/** A machine to boot, and the picked files that its description calls `file:NAME`. */
export interface Wish {
  readonly machine: MachineDescription
  readonly files?: Readonly<Record<string, Blob>>
}

/** What the form for one's own kernel holds. A source is a URL as typed, or a file. */
export interface OwnKernel {
  readonly kernel: string | File
  readonly initrd?: string | File | undefined
  readonly cmdline: string
  /** In MiB. */
  readonly memory: number
  readonly transport: Transport
}

/** Fails with an Error fit to be shown. */
export async function fetchMachine(url: string, transport?: string): Promise<Wish> {
  let response: Response
  try {
    response = await fetch(url)
  } catch {
    throw new Error(
      `${url} could not be fetched. Either the server cannot be reached, or it does not allow other sites to read its ` +
        'files: it would have to send Access-Control-Allow-Origin.',
    )
  }
  if (!response.ok) throw new Error(`${url} answered ${response.status} ${response.statusText}. Check the address.`)
  return readMachine(await response.text(), response.url || url, transport)
}

/** `base` is the document's own URL, which its relative URLs start from. */
export function readMachine(text: string, base: string, transport?: string): Wish {
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch {
    throw new Error(`${base} is not a machine description: it is not JSON.`)
  }
  if (transport && typeof document === 'object') document = { ...document, transport }
  return { machine: parseDescription(document, base) }
}

export function ownMachine(own: OwnKernel, base: string): Wish {
  const files: Record<string, Blob> = {}
  const source = (what: string, from: string | File) => {
    if (typeof from === 'string') return from
    files[what] = from
    return `file:${what}`
  }
  const document: DescriptionInput = {
    name: own.kernel instanceof File ? own.kernel.name : nameOf(own.kernel),
    memory: own.memory,
    kernel: source('kernel', own.kernel),
    ...(own.initrd ? { initrd: source('initrd', own.initrd) } : {}),
    cmdline: own.cmdline,
    transport: own.transport,
  }
  return { machine: parseDescription(document, base), files }
}

const nameOf = (url: string) => url.replace(/[?#].*$/, '').match(/[^/]+$/)?.[0] ?? url

/**
 * What the page's address asks for: `?machine=URL`, or `?kernel=…&initrd=…&cmdline=…&memory=…&transport=…`; undefined
 * when it asks for nothing.
 */
export async function wishOf(query: URLSearchParams, base: string): Promise<Wish | undefined> {
  const machine = query.get('machine')
  const transport = query.get('transport') ?? undefined
  if (machine) return fetchMachine(absolute(machine, base), transport)
  const kernel = query.get('kernel')
  if (!kernel) return undefined
  return ownMachine(
    {
      kernel,
      initrd: query.get('initrd') ?? undefined,
      cmdline: query.get('cmdline') ?? '',
      memory: query.has('memory') ? Number(query.get('memory')) : 256,
      // The description's own check says what it may be.
      transport: (transport ?? 'mmio') as Transport,
    },
    base,
  )
}

function absolute(url: string, base: string) {
  if (!URL.canParse(url, base)) throw new Error(`“${url}” is not a URL.`)
  return new URL(url, base).href
}

/** The address that boots the same again; undefined where files are needed that an address cannot carry. */
export function queryOf(own: OwnKernel): string | undefined {
  if (own.kernel instanceof File || own.initrd instanceof File) return undefined
  const query = new URLSearchParams({ kernel: own.kernel })
  if (own.initrd) query.set('initrd', own.initrd)
  if (own.cmdline) query.set('cmdline', own.cmdline)
  query.set('memory', String(own.memory))
  query.set('transport', own.transport)
  return `?${query}`
}
