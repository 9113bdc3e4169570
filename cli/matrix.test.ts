import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { withMatrix } from './matrix.ts'

test('the README shows the catalogue as it is (npm run matrix brings it up to date)', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  expect(withMatrix(readme)).toBe(readme)
})
