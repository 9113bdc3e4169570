import { closeSync, openSync, readSync, statSync } from 'node:fs'
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
  /** Only the part that is asked for is read: a server that reads a whole image for every range would be what is measured. */
  const open = (path: string) => {
    if (typeof files !== 'string') {
      const bytes = files.get(path)
      return bytes && { size: bytes.length, part: (from: number, to: number) => bytes.subarray(from, to) }
    }
    const file = join(files, path)
    const found = statSync(file, { throwIfNoEntry: false })
    return found?.isFile()
      ? { size: found.size, part: (from: number, to: number) => readPart(file, from, to) }
      : undefined
  }
  const http = createServer(async (request, response) => {
    server.requests++
    server.paths.push(request.url!)
    server.most = Math.max(server.most, ++server.open)
    response.on('close', () => server.open--)
    if (await server.mischief?.(request, response)) return
    const file = open(new URL(request.url!, 'http://x').pathname)
    if (!file) return void response.writeHead(404).end()
    const { size } = file
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
    if (from === undefined) return void response.writeHead(200, { 'content-length': size }).end(file.part(0, size))
    const end = Math.min(Number(to), size - 1)
    response
      .writeHead(206, {
        'content-range': `bytes ${from}-${end}/${size}`,
        'content-length': end - Number(from) + 1,
        etag: `"${size}-${file.part(0, 1)[0]}"`,
      })
      .end(file.part(Number(from), end + 1))
  })
  await new Promise<void>(done => http.listen(0, '127.0.0.1', done))
  server.url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`
  return server
}

function readPart(path: string, from: number, to: number): Uint8Array {
  const file = openSync(path, 'r')
  try {
    const bytes = new Uint8Array(to - from)
    return bytes.subarray(0, readSync(file, bytes, 0, bytes.length, from))
  } finally {
    closeSync(file)
  }
}
