import { isBootable, isCd } from '../src/boot/recognise.ts'
import {
  changesOf,
  describeMachine,
  fromQuery,
  type MachineRequest,
  readDocument,
  SITE_BIOS,
} from '../worker/description/request.ts'
import {
  type DescriptionInput,
  type MachineDescription,
  parseDescription,
  type Transport,
} from '../worker/description.ts'

/** What an address boots that asks for changes only. */
export const readyMade = 'machines/default.json'

/** A machine to boot, and the picked files that its description calls `file:NAME`. */
export interface Wish {
  readonly machine: MachineDescription
  readonly files?: Readonly<Record<string, Blob>>
  /** Where it comes from, if not from this page alone: its disks are kept apart from those of others. */
  readonly origin?: string
  /** What an address runs in place of what its description says. */
  readonly changes?: string | undefined
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

/** What a page's address asks for; undefined when it asks for nothing. Fails with an Error fit to be shown. */
export async function wishOf(query: URLSearchParams, base: string): Promise<Wish | undefined> {
  const request = fromQuery(query, base, readyMade)
  if (!request) return undefined
  const { document } = request
  const wish = {
    machine: await describeMachine(request),
    ...(document && { origin: originOf(request, document, base), changes: changesOf(request) }),
  }
  return document
    ? wish
    : {
        machine: {
          name: nameOf(query.get('kernel') ?? query.get('cdrom') ?? query.get('bios') ?? ''),
          ...wish.machine,
        },
      }
}

/**
 * A link can put a kernel of its own into a machine of ours, and that kernel would do what it likes with our disks: so the
 * machine is from where its description is, unless what stands in for a part of it is from elsewhere.
 */
function originOf({ overrides }: MachineRequest, document: string, base: string) {
  const { kernel, initrd, bios, cdrom } = overrides
  const parts = [document, kernel, initrd, bios, cdrom].filter(part => typeof part === 'string')
  const origins = parts.filter(part => !part.startsWith('file:')).map(url => new URL(url).origin)
  return origins.find(origin => origin !== new URL(base).origin) ?? origins[0]!
}

/** A description picked or dropped, with the files it calls `file:NAME`. Fails with an Error fit to be shown. */
export async function wishOfFiles(description: File, files: readonly File[], base: string): Promise<Wish> {
  const document = readDocument(await description.text(), description.name)
  return {
    machine: parseDescription(document, base),
    files: Object.fromEntries(files.map(file => [file.name, file])),
    // Whoever wrote it, it was not this page.
    origin: 'a file',
  }
}

/** A machine for a CD or a disk that boots by a BIOS; undefined for files that are neither. */
export async function wishOfMedium(files: readonly File[], base: string): Promise<Wish | undefined> {
  const [file, more] = files
  if (!file || more) return undefined
  const start = new Uint8Array(await file.slice(0, 0x8800).arrayBuffer())
  const medium = isCd(start) ? 'cdrom' : isBootable(start) ? 'disk' : undefined
  if (!medium) return undefined
  const url = `file:${file.name}`
  const document: DescriptionInput = {
    name: file.name,
    bios: new URL(SITE_BIOS, base).href,
    ...(medium === 'cdrom' && { cdrom: url }),
    devices: [
      ...(medium === 'disk' ? [{ type: 'block' as const, image: url }] : []),
      { type: 'console' },
      { type: 'entropy' },
    ],
  }
  return { machine: parseDescription(document, base), files: { [file.name]: file } }
}

/** Fails with `DescriptionError`. */
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
