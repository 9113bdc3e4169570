import { describe, expect, test } from 'vitest'
import { open } from './ours.ts'
import { cases, conformanceVariants } from './suite.ts'

describe.each(conformanceVariants)('$title', variant => {
  const applicable = cases.filter(({ absent }) => absent?.(variant) === undefined)
  test.each(applicable)('$id: $title', ({ subject, options, run }) => {
    expect(run(open(subject, variant, options))).toBeUndefined()
  })
})
