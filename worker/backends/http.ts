import { BackendError } from '../../src/virtio/machine.ts'

export interface HttpOptions {
  readonly fetch?: typeof fetch
  /** Milliseconds before each further try; as many tries as there are, and one. */
  readonly delays?: readonly number[]
  /** Milliseconds until a request that gets no answer is given up. */
  readonly timeout?: number
}

/** What the server said that is wrong for good: trying again would not help. */
class Refused extends BackendError {}

/**
 * Gets one body whole: `check` may refuse the answer before the body is read, and says how long it must be.
 * Tries again, a bounded number of times, where the network or the server failed. Fails with `BackendError`.
 */
async function get(
  url: string,
  headers: Record<string, string>,
  check: (response: Response) => number | undefined,
  { fetch = globalThis.fetch, delays = [250, 1000, 3000], timeout = 30_000 }: HttpOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  for (let attempt = 0; ; attempt++) {
    const abort = new AbortController()
    const timer = setTimeout(() => abort.abort(new Error(`no answer in ${timeout / 1000} s`)), timeout)
    try {
      // Chromium's cache allows one request at a time for a URL, whatever ranges they ask for.
      const response = await fetch(url, { headers, cache: 'no-store', signal: abort.signal })
      if (response.status >= 400 && response.status < 500 && response.status !== 408 && response.status !== 429)
        throw new Refused(`${url}: the server answered ${response.status} ${response.statusText}`)
      if (!response.ok) throw new BackendError(`${url}: the server answered ${response.status} ${response.statusText}`)
      const length = check(response)
      const body = new Uint8Array(await response.arrayBuffer())
      if (length !== undefined && body.length !== length)
        throw new BackendError(`${url}: the answer was cut short: ${body.length} bytes of ${length}`)
      return body
    } catch (error) {
      abort.abort() // the rest of an answer that is not wanted
      const tries = attempt + 1
      if (error instanceof Refused) throw error
      if (attempt >= delays.length)
        throw new BackendError(`${reason(url, error)} (tried ${tries} times; check the connection and try again)`, {
          cause: error,
        })
      await new Promise(resolve => setTimeout(resolve, delays[attempt]))
    } finally {
      clearTimeout(timer)
    }
  }
}

const reason = (url: string, error: unknown) =>
  error instanceof BackendError ? error.message : `${url} cannot be reached: ${(error as Error).message}`

/** A whole file. */
export const getFile = (url: string, options: HttpOptions = {}) =>
  get(
    url,
    {},
    ({ headers }) => (headers.has('content-encoding') ? undefined : count(headers.get('content-length'))),
    options,
  )

const count = (header: string | null) => (header === null ? undefined : Number(header))

/** What pins a file on a server that has no hash for us: its size, and what it says of its version. */
export interface RemoteFile {
  readonly url: string
  /** In bytes. */
  readonly size: number
  /** `ETag`, or else `Last-Modified`, or nothing. */
  readonly version: string | undefined
}

/** Bytes `from` … `to` (not included), and the file they are of; `known` is what it must still be. */
export async function getRange(
  url: string,
  from: number,
  to: number,
  known: RemoteFile | undefined,
  options: HttpOptions = {},
): Promise<{ bytes: Uint8Array<ArrayBuffer>; file: RemoteFile }> {
  let file!: RemoteFile
  const bytes = await get(
    url,
    { range: `bytes=${from}-${to - 1}` },
    response => {
      const { status, headers } = response
      if (status !== 206)
        throw new Refused(
          `${url}: the server sends only the whole file (no Range requests): use another server, or a chunked image`,
        )
      const range = headers.get('content-range')
      if (range === null)
        throw new Refused(
          `${url}: the server hides Content-Range: it must send Access-Control-Expose-Headers: Content-Range`,
        )
      const [, start, end, total] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(range) ?? []
      const size = Number(total)
      if (Number(start) !== from || Number(end) !== Math.min(to, size) - 1)
        throw new Refused(`${url}: asked for bytes ${from}-${to - 1}, the server sent "${range}"`)
      const version = headers.get('etag') ?? headers.get('last-modified') ?? undefined
      if (known && (size !== known.size || (known.version && version && version !== known.version)))
        throw new Refused(`${url} was changed on the server while in use: restart the machine to use the new one`)
      file = { url, size, version }
      return Math.min(to, size) - from
    },
    options,
  )
  return { bytes, file }
}
