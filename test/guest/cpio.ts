/** A file of an initramfs: a path without the leading slash, and contents or, for a directory, none. */
export interface CpioFile {
  readonly path: string
  readonly contents?: Uint8Array
  readonly executable?: boolean
}

/** A cpio archive in the newc format (Linux: driver-api/early-userspace/buffer-format), everything owned by root. */
export function cpio(files: readonly CpioFile[]): Buffer {
  const parts: Buffer[] = []
  const put = (bytes: Uint8Array) => parts.push(Buffer.from(bytes), Buffer.alloc(-bytes.length & 3))
  const add = (path: string, mode: number, contents: Uint8Array = new Uint8Array(), inode = 0) => {
    const fields = [inode, mode, 0, 0, 1, 0, contents.length, 0, 0, 0, 0, Buffer.byteLength(path) + 1, 0]
    put(Buffer.from(`070701${fields.map(field => field.toString(16).padStart(8, '0')).join('')}${path}\0`))
    put(contents)
  }
  for (const [index, { path, contents, executable }] of files.entries())
    add(path, contents ? 0o100644 | (executable ? 0o111 : 0) : 0o040755, contents, index + 1)
  add('TRAILER!!!', 0)
  return Buffer.concat(parts)
}
