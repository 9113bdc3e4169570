import type { DeviceSpec } from '../virtio/device.ts'
import { Block } from './block.ts'
import { Console } from './console.ts'
import { Entropy } from './entropy.ts'
import { Net } from './net-spec.ts'

/** Every device Ringlet has, in order of ID. */
export const catalogue: readonly DeviceSpec[] = [Net, Block, Console, Entropy]
