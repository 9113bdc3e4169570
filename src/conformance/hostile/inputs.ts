/** What hostile drivers hand to a device, and what is demanded of it then. */

import { Feature } from '../../virtio/core.ts'
import { check, type RawDescriptor, type Rig, WRITE } from '../rig.ts'

export const room = (rig: Rig, len = 8): RawDescriptor => ({ addr: rig.allocate(len), len, flags: WRITE })

/** Each input in a fresh device: it must be refused. */
export function refuses(
  rig: Rig,
  inputs: Readonly<Record<string, (rig: Rig) => readonly RawDescriptor[]>>,
  without?: number[],
) {
  for (const [what, build] of Object.entries(inputs)) {
    rig.reset()
    rig.start({ without: without ?? [] })
    if (!without && what.includes('indirect') && !rig.has(Feature.INDIRECT_DESC)) continue
    rig.submit(build(rig))
    rig.refused(what)
  }
}
/** Either it is refused, or it is used with a length that can be true. */
export function survives(rig: Rig, what: string, most: number) {
  if (rig.used() > 0) {
    check(rig.usedLength() <= most, `${what}: the used length is ${rig.usedLength()}`)
    rig.usable(what)
  } else rig.refused(what)
}
