/** Accesses to what is not there, or not to be touched (§2.5, §4.1). */

import { LinuxError } from '../../driver/errno.ts'
import { probeMmio } from '../../driver/mmio.ts'
import { run } from '../../driver/steps.ts'
import { Capability } from '../../virtio/pci.ts'
import { Header } from '../../virtio/pci-config.ts'
import { type Case, mmioAny, pciAny, pciModern } from '../case.ts'
import { check, same } from '../rig.ts'

export const access: readonly Case[] = [
  {
    id: 'H31',
    section: '2.5',
    title: 'configuration reads past the end, of any width and alignment, and writes to what is read-only',
    subject: 'console',
    run(rig) {
      const { transport } = rig
      const sizes = [1, 2, 4]
      const before = [0, 1, 2, 3, 4, 5, 6, 7].map(at => rig.config(at, 1)).join()
      for (let at = 0; at < 64; at++) for (const size of sizes) check(rig.config(at, size) >= 0, `config ${at}`)
      for (const at of [12, 13, 20, 100, 200]) for (const size of sizes) rig.config(at, size)
      for (let at = 0; at < 8; at++)
        for (const size of sizes) if (at + size <= 8) run(transport.writeConfig(at, size, 0xffffffff))
      for (const at of [12, 33, 64, 100]) run(transport.writeConfig(at, 4, 0xffffffff))
      same([0, 1, 2, 3, 4, 5, 6, 7].map(at => rig.config(at, 1)).join(), before, 'the read-only fields')
      rig.start({ without: [1] }, [0, 1])
    },
  },
  {
    id: 'H32',
    section: '4.1.4.9',
    title: 'a PCI_CFG window that points nowhere',
    subject: 'entropy',
    absent: pciModern,
    run(rig) {
      const pci = rig.subject.pci!
      const at = run(pci.capabilities(9)).find(at => run(pci.read(at + 3, 1)) === 5)!
      const data = at + Capability.size
      for (const bar of [0, 1, 4, 5, 6, 255])
        for (const offset of [0, 1, 3, 0x3ffc, 0x3ffd, 0x4000, 0x7fffffff, 0xfffffffc, 0xffffffff])
          for (const length of [0, 1, 2, 3, 4, 5, 8, 0x80000000, 0xffffffff]) {
            if (bar === 4 && offset < 0x3ff0) continue
            run(pci.write(at + 4, 1, bar))
            run(pci.write(at + 8, 4, offset))
            run(pci.write(at + 12, 4, length))
            run(pci.read(data, 4))
            run(pci.write(data, 4, 0xffffffff))
          }
      rig.usable('a window that points nowhere')
    },
  },
  {
    id: 'H33',
    section: '4.1.5.1.2',
    title: 'MSI-X vectors past the table, and writes past its end',
    subject: 'entropy',
    options: { messages: true },
    absent: pciModern,
    run(rig) {
      const pci = rig.subject.pci!
      const [at] = run(pci.capabilities(0x11))
      if (at === undefined) return 'it has no MSI-X'
      const table = run(pci.read(at + 4, 4))
      const window = pci.map(run(pci.bar(table & 7))!)
      for (const offset of [0x100, 0x7fc, 0x800, 0xff0, 0xffc]) {
        window.write(offset, 4, 0xffffffff)
        window.read(offset, 4)
      }
      for (const vector of [0x7ff, 0x800, 0x7fff, 0xfffe]) {
        run(rig.common.write('queue_select', 0))
        run(rig.common.write('queue_msix_vector', vector))
        same(run(rig.common.read('queue_msix_vector')), 0xffff, `queue_msix_vector after ${vector}`)
      }
      rig.usable('vectors past the table')
    },
  },
  {
    id: 'H50',
    section: '4.1.4.5',
    title: 'an interrupt masked and unmasked is not lost',
    subject: 'entropy',
    absent: pciAny,
    run(rig) {
      rig.start()
      const pci = rig.subject.pci!
      const { INTX_DISABLE } = Header.fields.command.bits
      const command = run(pci.get('command'))
      run(pci.write(Header.offset.command, 2, command | INTX_DISABLE))
      rig.request(4)
      check(!rig.subject.level(), 'INTA# is up though it is disabled')
      run(pci.write(Header.offset.command, 2, command))
      check(rig.subject.level(), 'INTA# stays down once it is enabled')
      same(rig.causes(), 1, 'the cause')
    },
  },
  {
    id: 'H50b',
    section: '4.2.2',
    title: 'an empty slot has device ID 0, is no error to its driver, and stays empty whatever is written to it',
    subject: 'entropy',
    absent: mmioAny,
    run(rig) {
      const empty = rig.subject.empty!
      const look = () => [0, 8].map(offset => empty.read(offset, 4)).join()
      same(look(), `${0x74726976},0`, 'the magic value and the device ID')
      for (let offset = 0; offset < 0x200; offset += 4)
        for (const value of [0, 1, 0xffffffff]) empty.write(offset, 4, value)
      same(look(), `${0x74726976},0`, 'the magic value and the device ID after writes')
      try {
        run(probeMmio(empty))
        check(false, 'a driver finds a device there')
      } catch (error) {
        if (!(error instanceof LinuxError)) throw error
        same(error.code, 'ENODEV', 'what the probe says')
      }
    },
  },
]
