/** Linux's error numbers (asm-generic/errno-base.h). */
export const Errno = {
  ENOENT: 2,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  ENOMEM: 12,
  EBUSY: 16,
  ENODEV: 19,
  EINVAL: 22,
  ENOSPC: 28,
} as const
export type ErrnoName = keyof typeof Errno

/** Why the guest's half gave up: the number its kernel would return, and the message it would log. */
export class LinuxError extends Error {
  override name = 'LinuxError'
  /** Negative, as the kernel's functions return it. */
  readonly number: number
  constructor(
    readonly code: ErrnoName,
    message: string,
  ) {
    super(`${message} (-${code})`)
    this.number = -Errno[code]
  }
}
