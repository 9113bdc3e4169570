import { existsSync } from 'node:fs'

const NAMES = ['firefox-esr', 'firefox']

/** Where a Firefox is, if there is one: `FIREFOX` says, or the search path. */
export function findFirefox(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(':')
  return process.env['FIREFOX'] ?? NAMES.flatMap(name => folders.map(folder => `${folder}/${name}`)).find(existsSync)
}
