import type { Judgements } from './report.ts'

const norRefused =
  '§5.4.6.1 forbids such a request. QEMU looks only at how much room there is, and lets one without room lie for ever.'
const circles =
  '§2.1.2: an error is a reason to ask for a reset. QEMU does that too, but then finds the broken packed queue still not ' +
  'empty, and asks it again for ever: its virtual machine stands still.'

/** Every test that QEMU 7.2 fails, and what the specification says to that. */
export const judgements: Judgements = {
  R1b: {
    right: 'ours',
    because:
      '§2.1.2: a device must not consume buffers or notify before DRIVER_OK. virtio-rng keeps to that, virtio-serial does not.',
  },
  R3: {
    right: 'ours',
    because: '§2.2.2: it must not keep FEATURES_OK for a set it did not offer (§6.2 for VERSION_1).',
  },
  R5: {
    right: 'both',
    because:
      '§6.3 sets bit 30 aside for QEMU, to find drivers that take whatever they are offered; no driver may take it.',
  },
  R10: { right: 'ours', because: '§4.2.2.1: RING_RESET is offered over MMIO, but there is no QueueReset register.' },
  R14: {
    right: 'ours',
    because: '§2.7.5.3.2: ordinary descriptors followed by one INDIRECT descriptor must be handled.',
  },
  R16p: {
    right: 'both',
    because:
      '§2.8.10 has drivers ask for fewer interrupts, not for exact ones. QEMU forgets at each wrap what it signalled last, and interrupts once too often.',
  },
  R17p: {
    right: 'ours',
    because: '§2.8.5: without WRITE the length is reserved. Linux reads it all the same, and so nobody noticed.',
  },
  R20b: {
    right: 'ours',
    because:
      '§2.8.6: the buffer ID is in the last descriptor of a list. Linux writes it into all of them, and so nobody noticed.',
  },
  R20c: {
    right: 'ours',
    because: '§2.8.5 and §2.8.6, as R17p and R20b: no WRITE, and the ID of the first descriptor; the slots are right.',
  },
  R28: { right: 'ours', because: '§4.2.2.1: the rings must not be touched while QueueReady is 0; QEMU goes on.' },
  R29: { right: 'ours', because: '§4.2.2.1, as R10.' },
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
  R42: {
    right: 'both',
    because: '§4.1.4.3.1 asks that device_status reads 0; that driver_feature forgets what was written is our wish.',
  },
  H1: { right: 'both', because: `A table without a writable descriptor is a request without room. ${norRefused}` },
  H2: { right: 'ours', because: circles },
  H7: { right: 'ours', because: circles },
  H8: { right: 'both', because: norRefused },
  H13: { right: 'ours', because: circles },
  H14: { right: 'both', because: norRefused },
  H15: {
    right: 'both',
    because: '§2.7.5.3.1 forbids drivers to set INDIRECT unless it was negotiated. Serving it hides their fault.',
  },
  H16: {
    right: 'ours',
    because: '§2.7.5.3: an empty packed table fails an assertion (address_space_cache_init), which ends QEMU.',
  },
  H17: {
    right: 'both',
    because:
      '§2.7.5.3.1 and §2.8.8 forbid drivers to set both INDIRECT and NEXT; which of them counts is anybody’s guess.',
  },
  H18: { right: 'ours', because: '§2.7.5.3.2, as R14.' },
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
