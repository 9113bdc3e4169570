import * as v from 'valibot'
import { described, device, source, wholeNumber } from './device.ts'

export const blockSchema = device('block', 'Disks (/dev/vda, /dev/vdb …), in this order.', {
  image: v.optional(
    source(
      'What is on it to begin with: a raw image on a server that answers Range requests, the manifest.json of a chunked image, or a raw file of the user’s (file:NAME). Never written.',
    ),
  ),
  size: v.optional(
    described(
      'Size in MiB, if larger than the image’s; an empty disk of that size without an image.',
      wholeNumber(1, 2 ** 21),
    ),
  ),
  disk: v.optional(
    described(
      'Keep what the guest writes under this name, in this browser. Without it, it is forgotten with the machine.',
      v.pipe(
        v.string(),
        v.regex(/^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,63}$/u, 'must be 1 to 64 letters, digits, spaces, dots, dashes'),
      ),
    ),
  ),
  store: v.optional(described('Where it is kept: the best there is unless given.', v.picklist(['opfs', 'indexeddb']))),
  readonly: v.optional(described('The guest cannot write to it.', v.boolean())),
  serial: v.optional(
    described(
      'Its serial number: /dev/disk/by-id.',
      v.pipe(v.string(), v.regex(/^[\x20-\x7e]{1,20}$/, 'must be 1 to 20 ASCII characters')),
    ),
  ),
  queues: v.optional(described('Request queues.', wholeNumber(1, 16))),
})
