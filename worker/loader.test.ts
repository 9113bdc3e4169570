import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { load } from './loader.ts'

const body = Buffer.from('the kernel '.repeat(10_000))
const sha256 = createHash('sha256').update(body).digest('hex')
const what = 'the kernel'

const pages: Record<string, (response: ServerResponse, request: IncomingMessage) => void> = {
  '/kernel': response => response.setHeader('Content-Length', body.length).end(body),
  '/unsized': response => {
    response.write(body)
    response.end()
  },
  '/gzipped': response => {
    const packed = gzipSync(body)
    response.writeHead(200, { 'Content-Encoding': 'gzip', 'Content-Length': packed.length }).end(packed)
  },
  '/short': response => {
    response.setHeader('Content-Length', body.length).write(body.subarray(0, 5000))
    setTimeout(() => response.destroy(), 20)
  },
  '/slow': response => void response.setHeader('Content-Length', body.length).write(body.subarray(0, 5000)),
  '/page': response => response.setHeader('Content-Type', 'text/html').end('<!doctype html><title>Home</title>'),
  '/forbidden': response => response.writeHead(403).end(),
}
const server = createServer((request, response) =>
  (pages[request.url!] ?? (() => response.writeHead(404).end()))(response, request),
)
let base: string
beforeAll(async () => {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})

describe('load', () => {
  it('downloads with progress', async () => {
    const progress = vi.fn()
    const bytes = await load(
      { url: `${base}/kernel`, sha256: sha256.toUpperCase(), size: body.length },
      { what, progress },
    )
    expect(Buffer.compare(bytes, body)).toBe(0)
    expect(progress.mock.calls[0]).toEqual([0, body.length])
    expect(progress.mock.lastCall).toEqual([body.length, body.length])
  })
  it.each(['/unsized', '/gzipped'])('does without the size of %s', async path => {
    const progress = vi.fn()
    expect(Buffer.compare(await load({ url: base + path }, { what, progress }), body)).toBe(0)
    expect(progress.mock.lastCall).toEqual([body.length, undefined])
  })
  it('takes the described size for its progress where the server gives none', async () => {
    const progress = vi.fn()
    await load({ url: `${base}/gzipped`, size: body.length }, { what, progress })
    expect(progress.mock.calls[0]).toEqual([0, body.length])
  })
  it('has no false total for long where another origin compresses, and hides that it does', async () => {
    const hidden = async () => {
      const stream = new Blob([body]).stream().pipeThrough(new TransformStream())
      const response = new Response(stream, { headers: { 'Content-Length': '100' } })
      return Object.defineProperty(response, 'type', { value: 'cors' })
    }
    const fetched = vi.spyOn(globalThis, 'fetch').mockImplementation(hidden)
    try {
      const progress = vi.fn()
      await load({ url: `${base}/kernel` }, { what, progress })
      expect(progress.mock.lastCall).toEqual([body.length, undefined])
      expect(progress.mock.calls.every(([done, total]) => total === undefined || done <= total)).toBe(true)
      await load({ url: `${base}/kernel`, size: body.length }, { what, progress })
      expect(progress.mock.lastCall).toEqual([body.length, body.length])
    } finally {
      fetched.mockRestore()
    }
  })
  it('reads files, dropped or named', async () => {
    expect(Buffer.compare(await load(new Blob([body]), { what }), body)).toBe(0)
    const openFile = async (url: string) => (url === 'file:vmlinuz' ? new Blob([body]) : undefined)
    expect((await load({ url: 'file:vmlinuz', sha256 }, { what, openFile })).length).toBe(body.length)
    await expect(load({ url: 'file:other' }, { what, openFile })).rejects.toThrow(
      'There is no file other for the kernel',
    )
    await expect(load({ url: 'file:///boot/x' }, { what })).rejects.toThrow('There is no file /boot/x for the kernel')
  })

  it.each([
    ['/none', {}, 'the server answered 404 Not Found (no such file) for the kernel'],
    ['/forbidden', {}, '403 Forbidden (not allowed)'],
    ['/page', {}, 'is a web page instead of the kernel'],
    ['/short', {}, /the download of the kernel broke off after \d+ of 110000 bytes \(.+\)\. Try again\./],
    ['/kernel', { size: 7 }, 'has 110000 bytes, but the kernel should have 7'],
    ['/kernel', { sha256: '0'.repeat(64) }, `its SHA-256 is ${sha256} instead of 0000`],
  ])('says what is wrong with %s %o', async (path, rest, message) => {
    await expect(load({ url: base + path, ...rest }, { what })).rejects.toThrow(message)
    await expect(load({ url: base + path, ...rest }, { what })).rejects.toThrow(
      expect.objectContaining({ name: 'LoadError' }),
    )
  })
  it('names the network where no server answers', async () => {
    await expect(load({ url: 'http://127.0.0.1:1/kernel' }, { what })).rejects.toThrow(
      /the kernel could not be loaded \(.+\)\. Either the server cannot be reached: check the address and the network\.$/,
    )
  })
  it('names the network and CORS across origins, and insecure addresses on secure pages', async () => {
    vi.stubGlobal('location', { origin: 'https://here.example' })
    try {
      await expect(load({ url: 'https://127.0.0.1:1/kernel' }, { what })).rejects.toThrow(
        'it must send Access-Control-Allow-Origin: https://here.example or *.',
      )
      await expect(load({ url: 'http://127.0.0.1:1/kernel' }, { what })).rejects.toThrow('Serve it by https.')
    } finally {
      vi.unstubAllGlobals()
    }
  })
  it('stops when it is aborted, before and during', async () => {
    const reason = new Error('enough')
    await expect(load({ url: `${base}/kernel` }, { what, signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const controller = new AbortController()
    const progress = (done: number) => void (done > 0 && controller.abort(reason))
    await expect(load({ url: `${base}/slow` }, { what, signal: controller.signal, progress })).rejects.toBe(reason)
  })
})
