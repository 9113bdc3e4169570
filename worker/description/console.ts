import * as v from 'valibot'
import { described, device } from './device.ts'

export const consoleSchema = device('console', 'Terminals and byte channels (/dev/hvc0, /dev/virtio-ports/NAME).', {
  ports: v.optional(
    described(
      'Its ports, in order. One console port unless given.',
      v.pipe(
        v.array(
          v.strictObject({
            name: described(
              'What the guest calls it: /dev/virtio-ports/NAME.',
              v.pipe(v.string(), v.nonEmpty('is empty: a port needs a name')),
            ),
            console: v.optional(described('A terminal (hvc) rather than a byte channel.', v.boolean())),
          }),
        ),
        v.nonEmpty('is empty: leave it out for one console port'),
      ),
    ),
  ),
  multiport: v.optional(
    described('Offer VIRTIO_CONSOLE_F_MULTIPORT; when it is not given, only if there are several ports.', v.boolean()),
  ),
})
