/** Downloads: a URL or a file to bytes, checked, with progress, and with failures that say what happened. */

import { isHtml } from '../src/boot/recognise.ts'
import type { FileSource } from './description.ts'

/** A file could not be had. The message says why and what to do. */
export class LoadError extends Error {
  override name = 'LoadError'
}

export interface LoadOptions {
  /** What it is, for messages: `the kernel`. */
  readonly what: string
  /** Where the files are that a description names by `file:NAME`, and `file:///…` URLs where there is a file system. */
  readonly openFile?: (url: string) => Promise<Blob | undefined>
  readonly signal?: AbortSignal
  /** Bytes so far, of `total` if the server says. */
  readonly progress?: (done: number, total?: number) => void
}

/** Fails with `LoadError`, or with the signal's reason when it is aborted. */
export async function load(source: FileSource | Blob, options: LoadOptions): Promise<Uint8Array<ArrayBuffer>> {
  const { what, signal } = options
  signal?.throwIfAborted()
  const bytes = source instanceof Blob ? await readBlob(source, options) : await loadUrl(source, options)
  signal?.throwIfAborted()
  if (source instanceof Blob) return bytes
  if (isHtml(bytes))
    throw new LoadError(
      `${source.url} is a web page instead of ${what}. Check the address: servers answer so for missing files.`,
    )
  if (source.size !== undefined && bytes.length !== source.size)
    throw new LoadError(
      `${source.url} has ${bytes.length} bytes, but ${what} should have ${source.size}. It is cut short or another version.`,
    )
  if (source.sha256) await verify(bytes, source as FileSource & { sha256: string }, what)
  return bytes
}

async function verify(bytes: Uint8Array<ArrayBuffer>, { url, sha256 }: FileSource & { sha256: string }, what: string) {
  if (!globalThis.crypto?.subtle)
    throw new LoadError(`The checksum of ${what} cannot be verified: browsers do it only on https: or localhost pages.`)
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  const actual = Array.from(digest, byte => byte.toString(16).padStart(2, '0')).join('')
  if (actual !== sha256.toLowerCase())
    throw new LoadError(
      `${url} is not ${what} that was described: its SHA-256 is ${actual} instead of ${sha256.toLowerCase()}. ` +
        'It is damaged or another version.',
    )
}

async function loadUrl(source: FileSource, options: LoadOptions): Promise<Uint8Array<ArrayBuffer>> {
  const { what, openFile, signal } = options
  if (source.url.startsWith('file:')) {
    const blob = await openFile?.(source.url)
    if (!blob) throw missing(source.url, what)
    return readBlob(blob, options)
  }
  let response: Response
  try {
    response = await fetch(source.url, signal ? { signal } : {})
  } catch (reason) {
    if (signal?.aborted) throw signal.reason
    throw unreachable(source.url, what, reason)
  }
  if (!response.ok) throw new LoadError(`${source.url}: the server answered ${status(response)} for ${what}.`)

  // A compressed transfer's length says nothing about ours; across origins its header may be hidden, too.
  const encoded = response.headers.has('Content-Encoding')
  const length = encoded ? null : response.headers.get('Content-Length')
  const expected = source.size ?? (length === null ? undefined : Number(length))
  const bytes = await collect(response.body, expected, source.url, options)
  if (length !== null && bytes.length < Number(length) && response.type !== 'cors')
    throw new LoadError(
      `${source.url}: the download of ${what} was cut short, ${bytes.length} of ${length} bytes came. Try again.`,
    )
  return bytes
}

/** A path in a file system, or a name of what comes with the machine. */
const missing = (url: string, what: string) =>
  url.startsWith('file:///')
    ? new LoadError(`There is no file ${decodeURI(new URL(url).pathname)} for ${what}. Check its name.`)
    : new LoadError(`There is no file ${url.slice('file:'.length)} for ${what}. Give it with the machine.`)

async function readBlob(blob: Blob, options: LoadOptions) {
  try {
    return await collect(blob.stream(), blob.size, 'name' in blob ? String(blob.name) : 'The file', options)
  } catch (reason) {
    if (options.signal?.aborted || reason instanceof LoadError) throw reason
    throw new LoadError(`${options.what} cannot be read: ${(reason as Error).message}. Choose the file again.`)
  }
}

async function collect(
  stream: ReadableStream<Uint8Array> | null,
  expected: number | undefined,
  url: string,
  { what, signal, progress }: LoadOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  let bytes = new Uint8Array(expected ?? 1 << 20)
  let done = 0
  progress?.(0, expected)
  const reader = stream?.getReader()
  const stop = () => void reader?.cancel().catch(() => {})
  signal?.addEventListener('abort', stop)
  try {
    for (let part: ReadableStreamReadResult<Uint8Array> | undefined; (part = await reader?.read()) && !part.done; ) {
      if (done + part.value.length > bytes.length) {
        const grown = new Uint8Array(Math.max(done + part.value.length, bytes.length * 2))
        grown.set(bytes.subarray(0, done))
        bytes = grown
      }
      bytes.set(part.value, done)
      done += part.value.length
      progress?.(done, expected !== undefined && done > expected ? undefined : expected)
    }
  } catch (reason) {
    if (signal?.aborted) throw signal.reason
    throw new LoadError(
      `${url}: the download of ${what} broke off after ${done}${expected ? ` of ${expected}` : ''} bytes (${why(reason)}). Try again.`,
    )
  } finally {
    signal?.removeEventListener('abort', stop)
  }
  signal?.throwIfAborted()
  return bytes.subarray(0, done)
}

/** `fetch` tells apart neither a dead network from a missing permission, nor lets us: so both are named. */
function unreachable(url: string, what: string, reason: unknown): LoadError {
  const here = globalThis.location?.origin
  const { origin, protocol } = new URL(url)
  const another = here !== undefined && here !== origin
  if (another && protocol === 'http:' && here.startsWith('https:'))
    return new LoadError(`${url}: an https: page may not load ${what} from an http: address. Serve it by https.`)
  return new LoadError(
    `${url}: ${what} could not be loaded (${why(reason)}). Either the server cannot be reached: check the address and the network` +
      (another
        ? `; or it does not let other sites read its files: it must send Access-Control-Allow-Origin: ${here} or *.`
        : '.'),
  )
}

/** Node hides the reason in `cause`. */
const why = (reason: unknown) => {
  const { message, cause } = reason as Error
  return cause instanceof Error ? cause.message || String(cause) : message
}

const status = ({ status, statusText }: Response) =>
  `${status}${statusText && ` ${statusText}`}${status === 404 ? ' (no such file)' : status === 403 || status === 401 ? ' (not allowed)' : ''}`
