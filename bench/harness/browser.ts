import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { type Browser, type BrowserContext, chromium, type Page } from '@playwright/test'
import { build } from 'vite'
import { needChromium } from '../../test/chromium.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const SITE = join(root, '.cache/bench/site')
const FIRMWARE = join(root, '.cache/bench/firmware')
const SEABIOS = '/usr/share/seabios'

const types: Readonly<Record<string, string>> = {
  ...{ '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm', '.css': 'text/css' },
  '.json': 'application/json',
}
/** What every web server compresses; the guest's files are compressed already. */
const compressed = ['.html', '.js', '.wasm', '.css', '.json']

export interface BenchSite {
  /** Further files of the site, by path. */
  readonly files?: ReadonlyMap<string, Uint8Array>
  /** All pages share a profile on the disk, so that what they store goes there; otherwise each has its own, in memory. */
  readonly profile?: boolean
}

/** One headless Chromium on a site made of `bench/page`, `public` and SeaBIOS. */
export class BenchBrowser {
  private constructor(
    readonly browser: Browser,
    /** Its pages are in here. */
    private readonly pages: Browser | BrowserContext,
    private readonly profile: string | undefined,
    private readonly server: Server,
    /** Of the site, with a slash at its end. */
    readonly url: string,
    private readonly sent: { bytes: number },
  ) {}

  static async open({ files, profile = false }: BenchSite = {}): Promise<BenchBrowser> {
    await build({
      ...{ root: join(root, 'bench/page'), configFile: false, base: './', logLevel: 'error' },
      ...{ publicDir: join(root, 'public'), worker: { format: 'es' } },
      build: { outDir: SITE, emptyOutDir: true, target: 'es2023', assetsInlineLimit: 0, chunkSizeWarningLimit: 4096 },
    })
    const firmware = await seabios()
    const sent = { bytes: 0 }
    const server = createServer(async (request, response) => {
      const path = normalize(new URL(request.url ?? '/', 'http://x').pathname)
      const file = path.startsWith('/firmware/') ? join(firmware, path.slice(10)) : join(SITE, path)
      try {
        const bytes = files?.get(path) ?? (await readFile(file))
        const squeeze = compressed.includes(extname(file))
        const body = squeeze ? gzipSync(bytes) : bytes
        sent.bytes += body.length
        response.setHeader('Content-Type', types[extname(file)] ?? 'application/octet-stream')
        response.setHeader('Cache-Control', 'no-store')
        if (squeeze) response.setHeader('Content-Encoding', 'gzip')
        response.end(body)
      } catch {
        response.writeHead(404).end()
      }
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const options = { executablePath: needChromium(), args: process.getuid?.() === 0 ? ['--no-sandbox'] : [] }
    const folder = profile ? await mkdtemp(join(tmpdir(), 'ringlet-bench-')) : undefined
    const pages = folder ? await chromium.launchPersistentContext(folder, options) : await chromium.launch(options)
    const browser = 'browser' in pages ? pages.browser()! : pages
    return new BenchBrowser(browser, pages, folder, server, `http://127.0.0.1:${port}/`, sent)
  }

  /** A fresh page with what `bench/page` offers. */
  async page(path = 'index.html'): Promise<Page> {
    const page = await this.pages.newPage()
    page.on('pageerror', error => process.stderr.write(`page: ${error.message}\n`))
    await page.goto(this.url + path)
    return page
  }

  /** Bytes the server sent while `work` ran. */
  async downloaded(work: () => Promise<unknown>): Promise<number> {
    const before = this.sent.bytes
    await work()
    return this.sent.bytes - before
  }

  async close() {
    await this.pages.close()
    if (this.profile) await rm(this.profile, { recursive: true, force: true, maxRetries: 5 })
    this.server.closeAllConnections()
    await new Promise(resolve => this.server.close(resolve))
  }
}

/** v86's own way needs a BIOS: Debian's, from where it is installed or from its package. */
async function seabios(): Promise<string> {
  if (existsSync(join(SEABIOS, 'bios.bin'))) return SEABIOS
  const unpacked = join(FIRMWARE, 'usr/share/seabios')
  if (existsSync(join(unpacked, 'bios.bin'))) return unpacked
  await mkdir(FIRMWARE, { recursive: true })
  try {
    execFileSync('apt-get', ['download', 'seabios'], { cwd: FIRMWARE, stdio: 'ignore' })
    const [archive] = (await readdir(FIRMWARE)).filter(name => name.endsWith('.deb'))
    execFileSync('dpkg-deb', ['-x', archive!, '.'], { cwd: FIRMWARE })
  } catch {
    throw new Error('This benchmark needs SeaBIOS for its peer: install Debian’s package seabios.')
  }
  return unpacked
}
