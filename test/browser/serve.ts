import type { AddressInfo } from 'node:net'
import { preview } from 'vite'

/** Serves `dist/` on a free port of this computer, under `path`. */
export async function serveSite(path = '/') {
  const server = await preview({
    configFile: false,
    base: path,
    preview: { host: '127.0.0.1', port: 0 },
    logLevel: 'warn',
  })
  const { port } = server.httpServer.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}${path}`, close: () => server.close() }
}
