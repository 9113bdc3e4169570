import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test as base, expect } from '@playwright/test'
import { serveSite } from './serve.ts'

type Handler = (request: IncomingMessage, response: ServerResponse) => void

export interface Elsewhere {
  readonly url: string
  /** What the path answers from now on. */
  on(path: string, handler: Handler): string
}

/** Tests with the site, and another server that behaves as each test likes. */
export const served = base.extend<object, { site: string; elsewhere: Elsewhere }>({
  site: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the fixture's needs from the pattern.
    async ({}, use) => {
      const { url, close } = await serveSite()
      await use(url)
      await close()
    },
    { scope: 'worker' },
  ],
  elsewhere: [
    // biome-ignore lint/correctness/noEmptyPattern: as above
    async ({}, use) => {
      const handlers = new Map<string, Handler>()
      const server = createServer((request, response) => {
        const handler = handlers.get(request.url ?? '')
        if (handler) handler(request, response)
        else response.writeHead(404, { 'Access-Control-Allow-Origin': '*' }).end()
      })
      await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      await use({
        url,
        on(path, handler) {
          handlers.set(path, handler)
          return url + path
        },
      })
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
    { scope: 'worker' },
  ],
})

/** The same in a page of Chromium: fails, too, when the page breaks its own Content-Security-Policy or throws. */
export const test = served.extend<{ faults: string[] }>({
  faults: [
    async ({ page }, use) => {
      const faults: string[] = []
      page.on('pageerror', error => faults.push(`page: ${error.message}`))
      page.on('console', message => {
        if (/Content.Security.Policy/i.test(message.text())) faults.push(message.text())
      })
      await use(faults)
      expect(faults).toEqual([])
    },
    { auto: true },
  ],
})

export { expect }
