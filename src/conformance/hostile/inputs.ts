/** What hostile drivers hand to a device, and what is demanded of it then. */

import { Feature } from '../../virtio/core.ts'
import { MAX_INDIRECT } from '../../virtio/ring.ts'
import { check, type RawDescriptor, type Rig, WRITE } from '../rig.ts'

/** More than this many descriptors are in no ring and no table that the suite makes. */
const MOST = 2 * MAX_INDIRECT

export const room = (rig: Rig, len = 8): RawDescriptor => ({ addr: rig.allocate(len), len, flags: WRITE })

/** Each input in a fresh device: it must be refused, after no more work than an honest request makes. */
export function refuses(
  rig: Rig,
  inputs: Readonly<Record<string, (rig: Rig) => readonly RawDescriptor[]>>,
  without?: number[],
) {
  for (const [what, build] of Object.entries(inputs)) {
    rig.reset()
    rig.start({ without: without ?? [] })
    if (!without && what.includes('indirect') && !rig.has(Feature.INDIRECT_DESC)) continue
    const input = build(rig)
    const submit = () => rig.submit(input)
    const looks = rig.subject.inside?.looks(submit) ?? submit() ?? 0
    check(looks <= MOST, `${what}: ${looks} descriptors were looked at`)
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
