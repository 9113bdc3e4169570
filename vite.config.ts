import { defineConfig, type Plugin } from 'vite'

/**
 * What the page may do, said in the page itself so that any static host serves it as it is.
 * Styles need no 'unsafe-inline': Lit adopts constructed sheets, and `web/strict-styles.ts` makes xterm do the same.
 */
const policy = {
  'default-src': "'none'",
  'script-src': "'self' 'wasm-unsafe-eval'",
  'worker-src': "'self'",
  'style-src': "'self'",
  // The tab's icon is drawn by the page, as a data: URL.
  'img-src': "'self' data:",
  // Kernels, disks and relays are wherever their owners put them; plain http and ws only on this computer.
  'connect-src': "'self' https: wss: http://localhost:* http://127.0.0.1:* ws://localhost:* ws://127.0.0.1:*",
  'base-uri': "'none'",
  'form-action': "'none'",
}

const contentSecurityPolicy: Plugin = {
  name: 'content-security-policy',
  transformIndexHtml: () => [
    {
      tag: 'meta',
      attrs: {
        'http-equiv': 'Content-Security-Policy',
        content: Object.entries(policy)
          .map(([directive, sources]) => `${directive} ${sources}`)
          .join('; '),
      },
      injectTo: 'head-prepend',
    },
  ],
}

export default defineConfig({
  // Relative, so that the same files serve under any path.
  base: './',
  server: { host: '127.0.0.1' },
  preview: { host: '127.0.0.1' },
  worker: { format: 'es' },
  // Vite does not follow workers: a dependency found only once the machine boots would reload the page under it.
  optimizeDeps: { entries: ['index.html', 'worker/main.ts'] },
  build: { target: 'es2023', assetsInlineLimit: 0, chunkSizeWarningLimit: 1024 },
  plugins: [contentSecurityPolicy],
})
