import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, type Connect, preview } from 'vite'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Builds and serves the page the tests of disks drive, with files of theirs; at /take it receives a disk into a file. */
export async function diskSite(files: Readonly<Record<string, Uint8Array>> = {}) {
  const outDir = mkdtempSync(join(tmpdir(), 'ringlet-disk-site-'))
  await build({
    ...{ root: join(root, 'test/disk/page'), configFile: false, base: './', logLevel: 'error' },
    ...{ publicDir: join(root, 'public'), worker: { format: 'es' } },
    build: { outDir, emptyOutDir: true, target: 'es2023', assetsInlineLimit: 0, chunkSizeWarningLimit: 4096 },
  })
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(outDir, name), bytes)
  let file = -1
  const server = await preview({
    ...{ root: outDir, configFile: false, logLevel: 'error' },
    build: { outDir: '.' },
    preview: { host: '127.0.0.1', port: 0 },
    plugins: [
      {
        name: 'take',
        configurePreviewServer: ({ middlewares }: { middlewares: Connect.Server }) => {
          middlewares.use('/take', (request, response) => take(request, response, file))
        },
      },
    ],
  })
  const { port } = server.httpServer.address() as AddressInfo
  const url = `http://127.0.0.1:${port}`
  return {
    url,
    /** Where the disk that `send` has posted goes; `send` says how long it is. */
    async take(path: string, send: () => Promise<number>) {
      file = openSync(path, 'w')
      try {
        ftruncateSync(file, await send())
      } finally {
        closeSync(file)
      }
    },
    async close() {
      await server.close()
      rmSync(outDir, { recursive: true })
    },
  }
}

function take(request: IncomingMessage, response: ServerResponse, file: number) {
  const at = Number(new URL(request.url!, 'http://x').searchParams.get('at'))
  const parts: Buffer[] = []
  request.on('data', part => parts.push(part))
  request.on('end', () => {
    const bytes = Buffer.concat(parts)
    writeSync(file, bytes, 0, bytes.length, at)
    response.end()
  })
}
