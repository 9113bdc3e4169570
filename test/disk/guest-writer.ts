/** What the guest is made to write, as the script it runs and as a model that says what must be found afterwards. */

import { createHash } from 'node:crypto'

export const BLOCK = 4096
/** Blocks of the pattern, each unlike all others. */
const PATTERN = 1024
/** Blocks of the two files that are overwritten in place. */
const SPAN = 256
const COUNTS = [1, 2, 4, 32] as const
/** The guest stops by itself after so many steps. */
export const STEPS = 400

export type Step =
  /** Blocks of a file that stays; fsync unless it is `loose`. */
  | { readonly do: 'overwrite' | 'loose'; readonly at: number; readonly from: number; readonly count: number }
  /** A new file; fsync. */
  | { readonly do: 'create'; readonly from: number; readonly count: number }
  /** The file made last; its directory is not synced. */
  | { readonly do: 'remove' }

const next = (x: number) => (Math.imul(x, 1103515245) + 12345) & 0x7fffffff

/** The steps of a run, the same as the script takes. */
export function stepsOf(seed: number): Step[] {
  let x = seed
  return Array.from({ length: STEPS }, (_, n) => {
    x = next(x)
    const count = COUNTS[(x >> 8) % 4]!
    const at = (x >> 12) % (SPAN - 31)
    const from = (n * 37) % (PATTERN - 31)
    const kind = (x >> 21) % 8
    if (kind < 4) return { do: 'overwrite', at, from, count }
    if (kind < 6) return { do: 'create', from, count }
    return kind === 6 ? { do: 'loose', at, from, count } : { do: 'remove' }
  })
}

export interface Writer {
  /** Of the steps. */
  readonly seed: number
  /** What the guest calls its messages by. */
  readonly tag: string
  /** The disk has no file system yet. */
  readonly fresh: boolean
}

/**
 * Typed at the guest's shell: a writer for each disk, /dev/vda first, all at once; the disk after them holds the pattern.
 * A writer says `did:TAG:N:` once step N is done, and `failed:TAG:WHAT:` for what should not fail; the quotes tell both from
 * their echo.
 */
export const script = (writers: readonly Writer[], run: number) =>
  [
    'cat > /tmp/writer << "END"',
    `tag=$1 disk=/dev/vd$2 x=$3 pattern=/dev/vd${letter(writers.length)} n=0 last=`,
    'failed() { echo "fail"ed:$tag:$1:; exit; }',
    '[ $4 = old ] || mkfs.ext4 -q -F -b 4096 $disk || failed mkfs',
    'mkdir /mnt/$tag && mount -t ext4 -o discard $disk /mnt/$tag && cd /mnt/$tag || failed mount',
    `while [ $n -lt ${STEPS} ]; do`,
    `  x=$(((x*1103515245+12345)&2147483647)) from=$((n*37%${PATTERN - 31}))`,
    '  case $(((x>>8)%4)) in 0) count=1;; 1) count=2;; 2) count=4;; 3) count=32;; esac',
    `  at=$(((x>>12)%${SPAN - 31})) sync=,fsync`,
    '  case $(((x>>21)%8)) in',
    '    [0-3]) to=kept;;',
    `    [45]) to=f${run}-$n at=0 last=$to;;`,
    '    6) to=loose sync=;;',
    '    7) to=; rm -f "$last"; last=;;',
    '  esac',
    '  [ -z "$to" ] || dd if=$pattern of=$to bs=4096 skip=$from count=$count seek=$at conv=notrunc$sync status=none || failed $n',
    '  echo "did":$tag:$n:',
    '  n=$((n+1))',
    'done',
    'END',
    writers
      .map(({ tag, seed, fresh }, i) => `sh /tmp/writer ${tag} ${letter(i)} ${seed} ${fresh ? 'new' : 'old'}`)
      .join(' & '),
    '',
  ].join('\n')
const letter = (disk: number) => String.fromCharCode(97 + disk)

/** Blocks that are told apart by any of their bytes: each starts with its number, and is noise from there on. */
export function pattern(): Uint8Array {
  const bytes = new Uint8Array(PATTERN * BLOCK)
  const words = new Uint32Array(bytes.buffer)
  for (let i = 0, x = 1; i < words.length; i++) words[i] = x = (Math.imul(x, 1664525) + 1013904223) >>> 0
  for (let block = 0; block < PATTERN; block++) words[(block * BLOCK) / 4] = block
  return bytes
}

const ZERO = -1
const TORN = -2
const hash = (bytes: Uint8Array) => createHash('sha1').update(bytes).digest('base64')
const known = new Map<string, number>([[hash(new Uint8Array(BLOCK)), ZERO]])
for (let block = 0, bytes = pattern(); block < PATTERN; block++)
  known.set(hash(bytes.subarray(block * BLOCK, (block + 1) * BLOCK)), block)

interface FileState {
  /** By block: what may be there. */
  readonly blocks: Set<number>[]
  /** In blocks: it is at least so long. */
  promised: number
  mayBeMissing: boolean
}

/** What each file must hold. It outlives kills: what was found after one is what the next run starts from. */
export class FilesModel {
  private readonly files = new Map<string, FileState>()
  private last = ''

  /** The guest did steps 0 to `done` surely, and began any of those after it. */
  ran(run: number, steps: readonly Step[], done: number) {
    this.last = ''
    for (const [n, step] of steps.entries()) this.take(run, n, step, n <= done)
  }

  private take(run: number, n: number, step: Step, sure: boolean) {
    if (step.do === 'remove') {
      const file = this.files.get(this.last)
      if (file) file.mayBeMissing = true
      this.last = ''
      return
    }
    const name = step.do === 'create' ? `f${run}-${n}` : step.do === 'loose' ? 'loose' : 'kept'
    if (step.do === 'create') this.last = name
    const file = this.file(name)
    const at = step.do === 'create' ? 0 : step.at
    const lasts = sure && step.do !== 'loose'
    for (let i = 0; i < step.count; i++) {
      const may = (file.blocks[at + i] ??= new Set([ZERO]))
      if (lasts) may.clear()
      may.add(step.from + i)
    }
    if (!lasts) return
    file.promised = Math.max(file.promised, at + step.count)
    // A removal that may not have happened is made up for by the file's being written again; no name is used twice.
    file.mayBeMissing = false
  }

  private file(name: string): FileState {
    let file = this.files.get(name)
    if (!file) this.files.set(name, (file = { blocks: [], promised: 0, mayBeMissing: true }))
    return file
  }

  /** Says what is wrong with the files found; then takes them for what is there. */
  faults(found: ReadonlyMap<string, Uint8Array>): string[] {
    const faults: string[] = []
    for (const [name, file] of this.files) {
      const bytes = found.get(name)
      if (!bytes) {
        if (!file.mayBeMissing) faults.push(`${name} was fsynced, and is gone`)
        this.files.delete(name)
        continue
      }
      if (bytes.length < file.promised * BLOCK)
        faults.push(`${name} was fsynced with ${file.promised} blocks, and has ${bytes.length} bytes`)
      const there: Set<number>[] = []
      for (let at = 0; at < bytes.length / BLOCK; at++) {
        const block = known.get(hash(bytes.subarray(at * BLOCK, (at + 1) * BLOCK))) ?? TORN
        const may = file.blocks[at] ?? new Set([ZERO])
        if (!may.has(block))
          faults.push(`${name}, block ${at}: ${say(block)}, and may be ${[...may].slice(0, 8).map(say).join(' or ')}`)
        there[at] = new Set([block])
      }
      this.files.set(name, { blocks: there, promised: there.length, mayBeMissing: false })
    }
    for (const name of found.keys())
      if (!this.files.has(name) && !faults.some(fault => fault.startsWith(name)))
        faults.push(`${name} was never written`)
    return faults
  }
}
const say = (block: number) => (block === TORN ? 'torn' : block === ZERO ? 'zeroes' : `block ${block} of the pattern`)
