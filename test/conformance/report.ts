import { cases, conformanceVariants } from '../../src/conformance/suite.ts'

export type Verdict =
  | { readonly is: 'pass' }
  | { readonly is: 'fail'; readonly why: string }
  | { readonly is: 'absent'; readonly why: string }
/** By variant, then by case. */
export type Results = readonly (readonly Verdict[])[]

/** Who is right where another implementation differs, and by which section. */
export type Judgements = Readonly<
  Record<string, { readonly right: 'ours' | 'both' | 'theirs'; readonly because: string }>
>

const heads = conformanceVariants.map(({ title }) =>
  title
    .replace('pci-transitional by its legacy interface', 'transitional as legacy')
    .replace('pci-transitional', 'transitional'),
)

/** The document: our table, theirs, and what the differences mean. */
export function report(
  ours: Results,
  qemu?: { readonly results: Results; readonly version: string; readonly judgements: Judgements },
): string {
  const reasons = new Map<string, number>()
  const lines = [
    '# Conformance',
    '',
    'Made by `npm run conformance`; do not edit. R1–R60 are requirements of the virtio specification, H1–H50 what hostile',
    'or broken drivers do. Each is one test in `src/conformance`, run by the driver in `src/driver` on every transport and',
    'ring format: ✓ passes, ✗ fails, a letter says why it does not apply.',
    '',
    '## Ringlet',
    '',
    ...table(ours, reasons),
    '',
    summary(ours),
  ]
  if (qemu) {
    const { results, version, judgements } = qemu
    lines.push(
      '',
      `## QEMU ${version}`,
      '',
      'The same suite and the same driver against QEMU’s virtio-rng and virtio-serial, over its qtest socket, with no guest.',
      '',
      ...table(results, reasons),
      '',
      summary(results),
      '',
      '### Where QEMU differs, and who is right',
      '',
      ...differences(results, judgements),
    )
  }
  lines.push('', '## Why a test does not apply', '')
  for (const [reason, number] of reasons) lines.push(`- **${letter(number)}** ${reason}`)
  return `${lines.join('\n')}\n`
}

const letter = (number: number) => String.fromCharCode(97 + number)
const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`

function table(results: Results, reasons: Map<string, number>) {
  const mark = (verdict: Verdict) => {
    if (verdict.is === 'pass') return '✓'
    if (verdict.is === 'fail') return '✗'
    if (!reasons.has(verdict.why)) reasons.set(verdict.why, reasons.size)
    return letter(reasons.get(verdict.why)!)
  }
  return [
    row(['', '§', '', ...heads]),
    row(['---', '---', '---', ...heads.map(() => ':-:')]),
    ...cases.map(({ id, section, title }, i) =>
      row([id, section === 'none' ? '' : section, title, ...results.map(column => mark(column[i]!))]),
    ),
  ]
}

function summary(results: Results) {
  const all = results.flat()
  const count = (is: Verdict['is']) => all.filter(verdict => verdict.is === is).length
  return `${count('pass')} pass, ${count('fail')} fail, ${count('absent')} do not apply.`
}

function differences(results: Results, judgements: Judgements) {
  return cases.flatMap(({ id, section, title }, i) => {
    const failures = new Map<string, string[]>()
    for (const [v, column] of results.entries()) {
      const verdict = column[i]!
      if (verdict.is === 'fail') failures.set(verdict.why, [...(failures.get(verdict.why) ?? []), heads[v]!])
    }
    if (failures.size === 0) return []
    const { right, because } = judgements[id] ?? { right: 'open', because: 'Nobody has looked into it yet.' }
    const who = {
      ours: 'The specification is with us',
      both: 'Both are allowed',
      theirs: 'QEMU is right',
      open: 'Open',
    }[right]
    return [
      `- **${id}** (§${section}) ${title}. **${who}.** ${because}`,
      ...[...failures].map(([why, where]) => `  - ${where.join(', ')}: “${why}”`),
    ]
  })
}
