import { readFileSync, writeFileSync } from 'node:fs'
import { catalogue } from '../src/devices/index.ts'

const START = '<!-- matrix: npm run matrix -->'
const END = '<!-- /matrix -->'
const TRANSPORTS = ['mmio', 'mmio-legacy', 'pci', 'pci-transitional', 'pci-legacy'] as const

/** The support matrix of the README, as Markdown: what the catalogue says, and nothing else. */
export function supportMatrix(): string {
  const head = ['ID', 'device', 'specification', 'features', ...TRANSPORTS]
  const rows = catalogue.map(({ id, name, section, features, modernOnly }) => [
    String(id),
    name,
    `§${section}`,
    Object.keys(features).join(', ') || '–',
    ...TRANSPORTS.map(transport => (modernOnly && transport.endsWith('legacy') ? '–' : '✓')),
  ])
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

/** The README with the matrix of now between its markers. */
export function withMatrix(readme: string): string {
  const start = readme.indexOf(START)
  const end = readme.indexOf(END)
  if (start < 0 || end < start) throw new Error(`README.md has lost its markers ${START} and ${END}`)
  return `${readme.slice(0, start + START.length)}\n${supportMatrix()}\n${readme.slice(end)}`
}

if (import.meta.url === `file://${process.argv[1]}`) {
  const path = new URL('../README.md', import.meta.url)
  writeFileSync(path, withMatrix(readFileSync(path, 'utf8')))
}
