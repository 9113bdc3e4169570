import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import puppeteer, { type Page } from 'puppeteer-core'
import { createServer, type ViteDevServer } from 'vite'

/** Serves the project's sources and, at /take, receives a disk into a file. */
export async function projectServer() {
  let file = -1
  const vite: ViteDevServer = await createServer({
    root: new URL('../..', import.meta.url).pathname,
    server: { host: '127.0.0.1', port: 0, hmr: false, watch: null },
    logLevel: 'error',
    plugins: [
      {
        name: 'take',
        configureServer(server) {
          server.middlewares.use('/take', (request, response) => {
            const at = Number(new URL(request.url!, 'http://x').searchParams.get('at'))
            const parts: Buffer[] = []
            request.on('data', part => parts.push(part))
            request.on('end', () => {
              const bytes = Buffer.concat(parts)
              if (bytes.some(byte => byte !== 0)) writeSync(file, bytes, 0, bytes.length, at)
              response.end()
            })
          })
        },
      },
    ],
  })
  await vite.listen()
  const { port } = vite.httpServer!.address() as AddressInfo
  const url = `http://127.0.0.1:${port}`
  return {
    url,
    page: `${url}/test/disk/page/index.html`,
    /** Where the next disk that is sent goes. */
    async take(path: string, send: () => Promise<number>) {
      file = openSync(path, 'w')
      try {
        ftruncateSync(file, await send())
      } finally {
        closeSync(file)
      }
    },
    close: () => vite.close(),
  }
}

/** A browser that can be killed like a power switch would, and started again on what it left. */
export class Browser {
  readonly profile: string
  private child: ChildProcess | undefined
  page!: Page

  constructor(
    private readonly url: string,
    profile?: string,
  ) {
    this.profile = profile ?? mkdtempSync(join(tmpdir(), 'ringlet-profile-'))
  }

  async start() {
    const path = process.env['CHROMIUM'] ?? '/usr/bin/chromium'
    rmSync(join(this.profile, 'DevToolsActivePort'), { force: true })
    this.child = spawn(
      path,
      [
        '--headless=new',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-dev-shm-usage',
        '--no-first-run',
        '--remote-debugging-port=0',
        `--user-data-dir=${this.profile}`,
        'about:blank',
      ],
      { detached: true, stdio: 'ignore' },
    )
    const port = await waitFor(() => {
      try {
        // The file is there before its content is.
        return readFileSync(join(this.profile, 'DevToolsActivePort'), 'utf8').split('\n')[0] || undefined
      } catch {
        return undefined
      }
    }, 60_000)
    const browser = await puppeteer.connect({ browserURL: `http://127.0.0.1:${port}`, protocolTimeout: 600_000 })
    this.page = await browser.newPage()
    await this.page.goto(this.url, { timeout: 180_000 })
    await this.page.waitForFunction('window.ringlet', { timeout: 180_000 })
  }

  /** Every process of it at once, as SIGKILL does it: nothing is told, nothing is written any more. */
  async kill() {
    const child = this.child!
    const gone = new Promise(resolve => child.on('exit', resolve))
    process.kill(-child.pid!, 'SIGKILL')
    await gone
    rmSync(join(this.profile, 'SingletonLock'), { force: true })
  }

  remove() {
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 })
  }
}

export async function waitFor<T>(look: () => T | undefined | Promise<T | undefined>, timeout: number): Promise<T> {
  for (const end = Date.now() + timeout; Date.now() < end; await new Promise(resolve => setTimeout(resolve, 30))) {
    const found = await look()
    if (found !== undefined && found !== false) return found
  }
  throw new Error(`nothing came in ${timeout / 1000} s`)
}
