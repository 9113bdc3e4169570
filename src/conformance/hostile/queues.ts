/** Queues set up wrongly, and notifications for such (§2.6, §4.2.2.2, §4.2.4). */

import { run } from '../../driver/steps.ts'
import { Feature, Status } from '../../virtio/core.ts'
import { LegacyRegisters, Registers } from '../../virtio/mmio.ts'
import { type Case, isLegacy, isMmio, mmioLegacy, modernOnly, pciModern } from '../case.ts'
import { writeFeatures } from '../common.ts'
import { check, type Rig, same } from '../rig.ts'

export const queues: readonly Case[] = [
  {
    id: 'H20',
    section: '4.2.2.2',
    title: 'queue sizes 0, 3, more than the largest, and a change after enabling',
    subject: 'entropy',
    absent: ({ transport, forceLegacy }) =>
      transport === 'pci-legacy' || forceLegacy ? 'the legacy PCI interface has no size to set' : undefined,
    run(rig) {
      const setSize = (size: number) => {
        if (rig.subject.window) rig.subject.window.write(Registers.QueueSize.at, 4, size)
        else run(rig.common.write('queue_size', size))
      }
      const wrong = rig.variant.packed ? [0, 0x8000 + 1, 0xffff] : [0, 3, 100, 0x8000 + 1, 0xffff]
      for (const size of wrong) {
        rig.reset()
        rig.negotiate()
        const ring = rig.ring(0, 16)
        // The right size, then the wrong one: it must be ignored.
        const { transport } = rig
        const original = transport.enableQueue.bind(transport)
        void original
        select(rig, 0)
        setSize(16)
        setSize(size)
        if (!isMmio(rig.variant)) same(run(rig.common.read('queue_size')), 16, `queue_size after ${size}`)
        place(rig, ring.placement)
        rig.driverOk()
        same(rig.request(4), 4, `written after QueueSize ${size}`)
        setSize(8)
        for (let i = 0; i < 20; i++) same(rig.request(4), 4, 'written after a change of size while enabled')
      }
    },
  },
  {
    id: 'H21',
    section: '4.2.2.2',
    title: 'rings that are misaligned, overlap, lie outside RAM, or were never given an address',
    subject: 'echo',
    absent: modernOnly,
    run(rig) {
      const end = rig.memory.size
      const broken: Record<string, (p: { desc: number; driver: number; device: number }) => object> = {
        'a descriptor area at 8 mod 16': p => ({ desc: p.desc + 8 }),
        'a driver area at an odd address': p => ({ driver: p.driver + 1 }),
        'a device area at 2 mod 4': p => ({ device: p.device + 2 }),
        'a descriptor area past RAM': () => ({ desc: end }),
        'a driver area past RAM': () => ({ driver: 0x1_0000_0000 }),
        'a device area at the last bytes of RAM': p => ({ device: rig.variant.packed ? end : end - 8, desc: p.desc }),
        'a device area at 2^60': () => ({ device: 2 ** 60 }),
        'a device area in the descriptor area': p => ({ device: p.desc }),
        'a driver area in the descriptor area': p => ({ driver: p.desc + 32 }),
      }
      for (const [what, change] of Object.entries(broken)) {
        rig.reset()
        rig.negotiate()
        const ring = rig.ring(0, 16)
        rig.enable(0, { ...ring.placement, ...change(ring.placement) })
        rig.driverOk()
        ring.add([], [rig.room(4)], 0)
        rig.kick()
        same(rig.used(), 0, `${what}: used`)
        same(rig.echo.kicks.length, 0, `${what}: notifications the device saw`)
        rig.usable(what)
        rig.echo.kicks.length = 0
      }
    },
  },
  {
    id: 'H21b',
    section: '4.1.4.3.2',
    title: 'a queue enabled twice, and 0 written to queue_enable',
    subject: 'entropy',
    absent: pciModern,
    run(rig) {
      rig.start()
      same(rig.request(4), 4, 'written')
      run(rig.common.write('queue_select', 0))
      run(rig.common.write('queue_enable', 1))
      same(rig.request(4), 4, 'written after enabling it again')
      run(rig.common.write('queue_enable', 0))
      same(run(rig.common.read('queue_enable')), 1, 'queue_enable after 0 was written')
      same(rig.request(4), 4, 'written after that')
    },
  },
  {
    id: 'H21c',
    section: '3.1.1',
    title: 'rings enabled first, and features that change their shape accepted later',
    subject: 'echo',
    absent: modernOnly,
    run(rig) {
      // Split rings at the very end of RAM: with EVENT_IDX they would reach past it.
      rig.setStatus(3)
      const end = rig.memory.size
      const size = 16
      const device = end - (4 + 8 * size)
      rig.enable(0, { size, desc: rig.allocate(256), driver: rig.allocate(64), device })
      writeFeatures(rig, (1n << 32n) | (1n << BigInt(Feature.EVENT_IDX)))
      rig.setStatus(11)
      rig.setStatus(15)
      run(rig.transport.notify(0))
      check((rig.status() & Status.NEEDS_RESET) !== 0 || rig.echo.kicks.length === 0, 'the device runs on such rings')
      rig.usable('rings that grew past RAM')
    },
  },
  {
    id: 'H22',
    section: '4.2.4',
    title: 'an alignment or page size of 0, and a page number that overflows',
    subject: 'entropy',
    absent: mmioLegacy,
    run(rig) {
      const write = (name: keyof typeof LegacyRegisters, value: number) =>
        rig.subject.window!.write(LegacyRegisters[name].at, 4, value)
      const attempts: [number, number, number][] = [
        [0, 4096, 16],
        [4096, 0, 16],
        [0, 0, 0xffffffff],
        [4096, 4096, 0xffffffff],
        [0x80000000, 0x80000000, 0xffffffff],
        [3, 3, 3],
        [0xffffffff, 0xffffffff, 1],
      ]
      for (const [page, align, pfn] of attempts) {
        rig.reset()
        rig.negotiate()
        select(rig, 0)
        write('GuestPageSize', page)
        write('QueueSize', 16)
        write('QueueAlign', align)
        write('QueuePFN', pfn)
        rig.driverOk()
        rig.kick()
        write('GuestPageSize', 4096)
        rig.usable(`pages of ${page}, aligned to ${align}, page ${pfn}`)
      }
    },
  },
  {
    id: 'H23',
    section: '2.3',
    title: 'notifications for queues that are not there, or not enabled',
    subject: 'console',
    run(rig) {
      rig.start({ without: [1] }, [1])
      const { window } = rig.subject
      for (const index of [0, 2, 7, 1000, 0xfffe, 0xffff, 0x10001, 0x7fffffff, 0xffffffff]) {
        if (window) window.write(Registers.QueueNotify.at, 4, index)
        else if (index <= 0xffff) run(rig.transport.notify(index))
        rig.subject.settle()
      }
      same(rig.status() & 0xc0, 0, 'NEEDS_RESET and FAILED')
      const before = rig.subject.output!().length
      rig.rings[1]!.add([rig.put(Uint8Array.of(65))], [], 0)
      rig.kick(1)
      same(rig.subject.output!().length, before + 1, 'bytes put out after that')
    },
  },
  {
    id: 'H24',
    section: '2.1.2',
    title: 'a notification before DRIVER_OK, and after a reset',
    subject: 'echo',
    run(rig) {
      rig.kick()
      rig.negotiate()
      rig.kick()
      rig.ring()
      rig.kick()
      rig.reset()
      rig.kick()
      same(rig.echo.kicks.length, 0, 'notifications the device saw')
      rig.usable('early and late notifications')
    },
  },
]

/** Selects a queue. */
function select(rig: Rig, index: number) {
  const { window } = rig.subject
  if (window) window.write(Registers.QueueSel.at, 4, index)
  else run(rig.common.write('queue_select', index))
}

/** Gives the selected queue its rings and enables it, leaving the size as it is. */
function place(rig: Rig, { desc, driver, device }: { desc: number; driver: number; device: number }) {
  const { window } = rig.subject
  if (window && isLegacy(rig.variant)) {
    window.write(LegacyRegisters.QueueAlign.at, 4, 4096)
    window.write(LegacyRegisters.QueuePFN.at, 4, desc / 4096)
  } else if (window) {
    window.write(Registers.QueueDescLow.at, 4, desc)
    window.write(Registers.QueueDriverLow.at, 4, driver)
    window.write(Registers.QueueDeviceLow.at, 4, device)
    window.write(Registers.QueueReady.at, 4, 1)
  } else {
    run(rig.common.write('queue_desc_lo', desc))
    run(rig.common.write('queue_driver_lo', driver))
    run(rig.common.write('queue_device_lo', device))
    run(rig.common.write('queue_enable', 1))
  }
}
