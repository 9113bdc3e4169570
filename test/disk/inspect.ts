import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'

/** Replays an ext4's journal as a mount would, then looks for anything that is not as it should be. */
export function checkExt4(image: string): string[] {
  const fsck = (...args: string[]) => {
    try {
      return { status: 0, text: String(execFileSync('/usr/sbin/e2fsck', [...args, image], { stdio: 'pipe' })) }
    } catch (error) {
      const { status, stdout, stderr } = error as { status: number; stdout: Buffer; stderr: Buffer }
      return { status, text: `${stdout}${stderr}`.trim() }
    }
  }
  const replay = fsck('-p', '-E', 'journal_only')
  const full = fsck('-fn')
  return [
    ...(replay.status > 1 ? [`the journal cannot be replayed (${replay.status}): ${replay.text}`] : []),
    ...(full.status !== 0 ? [`e2fsck -fn is not content (${full.status}): ${full.text}`] : []),
  ]
}

/** The files in the root folder of an ext4, by way of a folder in `scratch`. */
export function filesOfExt4(image: string, scratch: string): Map<string, Uint8Array> {
  const folder = mkdtempSync(join(scratch, 'files-'))
  try {
    execFileSync('/usr/sbin/debugfs', ['-R', `rdump / ${folder}`, image], { stdio: 'pipe' })
    const names = readdirSync(folder, { withFileTypes: true }).filter(entry => entry.isFile())
    return new Map(names.map(({ name }) => [name, readFileSync(join(folder, name))]))
  } finally {
    rmSync(folder, { recursive: true })
  }
}
