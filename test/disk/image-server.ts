import { readFileSync, statSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'

/** What a server may do wrong to an answer, or to do before it. `true` means it has answered itself. */
export type Mischief = (request: IncomingMessage, response: ServerResponse) => boolean | Promise<boolean>

/** A web server on loopback with files in memory or a folder; answers single closed ranges exactly. */
export async function imageServer(files: Map<string, Uint8Array> | string) {
  const server = {
    requests: 0,
    /** At once, and the most there were. */
    open: 0,
    most: 0,
    paths: [] as string[],
    mischief: undefined as Mischief | undefined,
    url: '',
    close: () =>
      new Promise<void>(done => {
        http.close(() => done())
        http.closeAllConnections()
      }),
  }
  const body = (path: string) => {
    if (typeof files !== 'string') return files.get(path)
    const file = join(files, path)
    return statSync(file, { throwIfNoEntry: false })?.isFile() ? readFileSync(file) : undefined
  }
  const http = createServer(async (request, response) => {
    server.requests++
    server.paths.push(request.url!)
    server.most = Math.max(server.most, ++server.open)
    response.on('close', () => server.open--)
    if (await server.mischief?.(request, response)) return
    const bytes = body(new URL(request.url!, 'http://x').pathname)
    if (!bytes) return void response.writeHead(404).end()
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
    if (from === undefined) return void response.writeHead(200, { 'content-length': bytes.length }).end(bytes)
    const end = Math.min(Number(to), bytes.length - 1)
    response
      .writeHead(206, {
        'content-range': `bytes ${from}-${end}/${bytes.length}`,
        'content-length': end - Number(from) + 1,
        etag: `"${bytes.length}-${bytes[0]}"`,
      })
      .end(bytes.subarray(Number(from), end + 1))
  })
  await new Promise<void>(done => http.listen(0, '127.0.0.1', done))
  server.url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`
  return server
}
