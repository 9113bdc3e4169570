import { LinuxError } from './errno.ts'
import type { Steps } from './steps.ts'

/** Where a driver put the three areas of a queue, as guest-physical addresses. */
export interface Placement {
  /** In descriptors. */
  readonly size: number
  readonly desc: number
  readonly driver: number
  readonly device: number
}

/** Why a device interrupted: both interfaces use the same bits. */
export const InterruptCause = { USED_BUFFER: 1, CONFIGURATION_CHANGE: 2 } as const

/** What a driver asks of the road to its device: Linux's `virtio_config_ops`. Every access is a step. */
export interface Transport {
  readonly name: string
  readonly id: { readonly device: number; readonly vendor: number }
  /** It has no FEATURES_OK, 32 feature bits, and one address a queue (§2.7.2). */
  readonly legacy: boolean
  /** The driver cannot choose a smaller queue. */
  readonly fixedSize: boolean
  /** What the rings of a queue are aligned to, in bytes. */
  readonly align: number
  status(): Steps<number>
  setStatus(value: number): Steps
  /** Writes 0 and waits until the device has let go. */
  reset(): Steps
  offered(): Steps<bigint>
  accept(features: bigint): Steps
  generation(): Steps<number>
  readConfig(offset: number, size: number): Steps<number>
  writeConfig(offset: number, size: number, value: number): Steps
  /** Largest size of a queue that is free to use. Fails with ENOENT. */
  queueSize(index: number): Steps<number>
  enableQueue(index: number, placement: Placement): Steps
  disableQueue(index: number): Steps
  /** §2.6.1: only with RING_RESET. */
  resetQueue(index: number): Steps
  /** `position`: with NOTIFICATION_DATA, where the next buffer will go (§2.9), 16 bits. */
  notify(index: number, position?: number): Steps
  /** Reads and acknowledges the causes of an interrupt. 0: it was not this device. */
  interrupt(): Steps<number>
}

/** Whether the platform can reach addresses of so many bits. */
export type DmaMask = (bits: number) => boolean

/**
 * Asks for 64-bit DMA, then for 32-bit; says what Linux would log if it gets neither. A legacy interface names the page
 * of a ring by 32 bits: it asks that the rings themselves come from where that reaches, and hopes for the best.
 */
export function chooseDma(can: DmaMask, log: (line: string) => void, ringBits = 64): number {
  if (can(64)) {
    if (ringBits < 64) can(ringBits)
    return 64
  }
  if (can(32)) return 32
  log('Failed to enable 64-bit or 32-bit DMA.  Trying to continue, but this might not work.')
  return 0
}

/** Reads until it is 0: the device has done what it was told. Fails with EIO if it never has. */
export function* untilZero(read: () => Steps<number>): Steps {
  for (let i = 0; i < 1000; i++) if ((yield* read()) === 0) return
  throw new LinuxError('EIO', 'the device does not finish a reset')
}
