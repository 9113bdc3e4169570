import type { DeviceSpec } from '../virtio/device.ts'
import { Console } from './console.ts'
import { Entropy } from './entropy.ts'

/** Every device Ringlet has, in order of ID. */
export const catalogue: readonly DeviceSpec[] = [Console, Entropy]
