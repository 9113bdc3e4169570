import type { Judgements } from './report.ts'

/** Every test that QEMU 7.2 fails, and what the specification says to that. */
export const judgements: Judgements = {
  R1: { right: 'ours', because: '§2.1.2: a device must not consume buffers or notify before DRIVER_OK.' },
  R3: {
    right: 'ours',
    because: '§2.2.2: it must not keep FEATURES_OK for a set it did not offer (§6.2 for VERSION_1).',
  },
  R14: {
    right: 'ours',
    because: '§2.7.5.3.2: ordinary descriptors followed by one INDIRECT descriptor must be handled.',
  },
  H18: { right: 'ours', because: '§2.7.5.3.2, as R14.' },
  R30: { right: 'ours', because: '§4.2.2: the base of a region that is not there reads as all ones, not 0.' },
  R31: { right: 'ours', because: '§4.2.2: a selector names 32 bits at 32 times its value; there are none past 63.' },
  R32: {
    right: 'both',
    because: '§4.2.4 gives QueueNumMax its meaning while QueuePFN is 0; Linux looks at QueuePFN first.',
  },
  R34: {
    right: 'ours',
    because: '§3.1.1, legacy: drivers did use devices before DRIVER_OK, and devices should support it.',
  },
  H15: {
    right: 'ours',
    because: '§2.7.5.3.1: a driver must not set INDIRECT unless it was negotiated; serving it hides the fault.',
  },
  H17: {
    right: 'ours',
    because: '§2.7.5.3.1: a driver must not set both INDIRECT and NEXT; which of them counts is anybody’s guess.',
  },
  H20: {
    right: 'both',
    because:
      '§4.2.2.2 binds the driver only; a size that changes under a live ring moves its areas, so we keep the old one.',
  },
  H21b: { right: 'both', because: '§4.1.4.3.2 forbids drivers to write 0; QEMU asks for a reset, we ignore it.' },
  H30: {
    right: 'both',
    because: '§2.1.1 forbids drivers to clear bits; ignoring the write keeps the device from running half set up.',
  },
}
