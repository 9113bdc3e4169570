/** QEMU's virtio devices as subjects of the suite, with no guest: its qtest socket is the CPU. */

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Rig, type Subject, type SubjectKind, type Variant } from '../../src/conformance/rig.ts'
import { Arena } from '../../src/driver/arena.ts'
import { LinuxError } from '../../src/driver/errno.ts'
import { probeMmio } from '../../src/driver/mmio.ts'
import { probePci } from '../../src/driver/pci.ts'
import { PciDevice, type Platform } from '../../src/driver/pci-device.ts'
import { part, run } from '../../src/driver/steps.ts'
import { ArrayMemory, type Window } from '../../src/virtio/machine.ts'
import { Header } from '../../src/virtio/pci-config.ts'

/** Guest RAM the driver uses, and the suite copies to and fro. */
const START = 0x100000
const END = 0x180000
const MMIO = 0xfeb00000
const SLOT = 0x200
/** Where the function under test sits: 00:05.0, whose INTA# is PIRQA on this board. */
const PCI_SLOT = 5
const IRQ = 11
/** How much of the CPU one answer may take, in seconds: some inputs set QEMU going round in circles. */
const EFFORT = 1
/** How long it may take on a machine that has no CPU to spare, in milliseconds. */
const PATIENCE = 900_000
/** What Linux counts CPU time in, in hertz. */
const TICKS = 100
const NEVER = new Int32Array(new SharedArrayBuffer(4))

/** Fails if there is no QEMU. */
export function qemuVersion(): string {
  const { stdout, error } = spawnSync('qemu-system-i386', ['--version'], { encoding: 'utf8' })
  if (error)
    throw new Error('There is no qemu-system-i386 to compare with: on Debian, apt-get install qemu-system-x86.')
  return /version (\d+\.\d+)/.exec(stdout)![1]!
}

/** One QEMU, driven synchronously over two FIFOs. */
class Qtest {
  /** Interrupt lines that are up. */
  readonly raised = new Set<number>()
  private readonly folder = mkdtempSync(join(tmpdir(), 'ringlet-qemu-'))
  readonly outputFile = join(this.folder, 'console')
  private readonly child: ChildProcess
  private readonly input: number
  private readonly replies: number
  private buffered = ''
  private readonly chunk = Buffer.alloc(1 << 20)

  constructor(options: (outputFile: string) => readonly string[]) {
    const [input, replies, bios] = ['in', 'out', 'halt'].map(name => join(this.folder, name)) as [
      string,
      string,
      string,
    ]
    execFileSync('mkfifo', [input, replies])
    writeFileSync(bios, Buffer.alloc(0x10000, 0xf4))
    const args = [
      '-accel',
      'tcg',
      '-nodefaults',
      '-display',
      'none',
      '-bios',
      bios,
      '-m',
      '64',
      '-qtest',
      'stdio',
      '-qtest-log',
      'none',
    ]
    // Opened for both directions, so that neither side waits for the other.
    this.input = openSync(input, 'r+')
    const theirs = openSync(replies, 'r+')
    // It dies with us, however we end.
    const program = ['--pdeathsig', 'KILL', 'qemu-system-i386', ...args, ...options(this.outputFile)]
    this.child = spawn('setpriv', program, {
      stdio: [this.input, theirs, 'ignore'],
    })
    this.replies = openSync(replies, constants.O_RDONLY | constants.O_NONBLOCK)
    // From now on only QEMU holds it open for writing: when it dies we read the end of the file.
    closeSync(theirs)
    process.once('exit', this.kill)
    this.command('irq_intercept_in ioapic')
  }

  // Nothing less ends one that goes round in circles.
  private readonly kill = () => void this.child.kill('SIGKILL')

  command(line: string): string {
    writeSync(this.input, `${line}\n`)
    for (;;) {
      const reply = this.line()
      const irq = /^IRQ (raise|lower) (\d+)/.exec(reply)
      if (irq) this.raised[irq[1] === 'raise' ? 'add' : 'delete'](Number(irq[2]))
      else if (reply.startsWith('OK')) return reply.slice(3)
      else if (reply.startsWith('FAIL')) throw new Error(`QEMU: ${reply}`)
    }
  }
  private line(): string {
    for (let end = this.buffered.indexOf('\n'); ; end = this.buffered.indexOf('\n')) {
      if (end >= 0) {
        const line = this.buffered.slice(0, end)
        this.buffered = this.buffered.slice(end + 1)
        return line
      }
      this.buffered += this.read()
    }
  }
  /** Waits for a reply, but not for ever. */
  private read(): string {
    const until = Date.now() + PATIENCE
    let before: number | undefined
    for (let tries = 0; ; tries++) {
      try {
        const count = readSync(this.replies, this.chunk)
        if (count === 0) throw new LinuxError('EIO', 'QEMU has ended')
        return this.chunk.toString('latin1', 0, count)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      }
      if (tries < 20) continue
      Atomics.wait(NEVER, 0, 0, tries < 500 ? 0.2 : 20)
      if (tries % 64 !== 0) continue
      before ??= this.effort()
      if (this.effort() - before > EFFORT) throw new LinuxError('EIO', 'QEMU goes round in circles and never answers')
      if (Date.now() > until) throw new Error(`QEMU does not answer for ${PATIENCE / 1000} s, and does nothing`)
    }
  }
  /** CPU time it has used so far, in seconds. */
  private effort() {
    const fields = readFileSync(`/proc/${this.child.pid}/stat`, 'latin1')
      .replace(/^.*\) /, '')
      .split(' ')
    return (Number(fields[11]) + Number(fields[12])) / TICKS
  }

  close() {
    process.off('exit', this.kill)
    this.kill()
    closeSync(this.input)
    closeSync(this.replies)
    rmSync(this.folder, { recursive: true, force: true })
  }
}

const hex = (value: number) => `0x${value.toString(16)}`
const letter = (size: number) => (size === 1 ? 'b' : size === 2 ? 'w' : 'l')

function options(kind: SubjectKind, { transport, packed }: Variant) {
  const mmio = transport.startsWith('mmio')
  return (output: string) => {
    const bus = mmio ? 'device' : 'pci'
    const place = mmio ? ',bus=virtio-mmio-bus.0' : `,addr=${PCI_SLOT}`
    const legacy = transport === 'pci-legacy' ? ',disable-modern=on' : transport === 'pci' ? ',disable-legacy=on' : ''
    const rings = packed ? ',packed=on' : ''
    const device = (name: string) => ['-device', `virtio-${name}-${bus}${place}${mmio ? '' : legacy}${rings}`]
    return [
      '-M',
      mmio ? 'microvm,pic=off,pit=off,rtc=off,ioapic2=off' : 'pc',
      ...(mmio ? ['-global', `virtio-mmio.force-legacy=${transport === 'mmio-legacy'}`] : []),
      ...(kind === 'entropy'
        ? ['-object', 'rng-builtin,id=rng0', ...device('rng').map(text => text.replace(/^(virtio.*)/, '$1,rng=rng0'))]
        : [
            '-chardev',
            `file,id=out,path=${output}`,
            ...device('serial').map(text => text.replace(/^(virtio.*)/, '$1,max_ports=4')),
            '-device',
            'virtconsole,chardev=out',
          ]),
    ]
  }
}

/** A QEMU with one device in it; `open` gives it to a test, reset. */
export class QemuSubject {
  private readonly qtest: Qtest
  /** What we last knew to be in QEMU's RAM. */
  private readonly known: Uint8Array
  private readonly memory = new ArrayMemory(64 << 20)

  constructor(
    kind: SubjectKind,
    private readonly variant: Variant,
  ) {
    this.qtest = new Qtest(options(kind, variant))
    this.known = new Uint8Array(END - START)
    if (!variant.transport.startsWith('mmio')) this.configure()
  }

  close() {
    this.qtest.close()
  }

  open(): Rig {
    const { qtest, memory } = this
    const platform: Platform = { memory: this.space('read', 'write'), ports: this.space('in', 'out') }
    memory.bytes.fill(0, START, END)
    const arena = new Arena(memory, START, END)
    const window = this.findMmio(platform)
    const pci = window ? undefined : new PciDevice(platform, PCI_SLOT)
    if (pci) this.plain(pci)
    const transport = window
      ? run(probeMmio(window))
      : run(probePci(pci!, { forceLegacy: this.variant.forceLegacy ?? false }))
    run(transport.reset())
    const subject: Subject = {
      transport,
      ...(window && { window, empty: part(platform.memory, MMIO + SLOT, SLOT) }),
      ...(pci && { pci }),
      platform,
      memory,
      arena,
      level: () => {
        this.settle()
        return window ? qtest.raised.size > 0 : qtest.raised.has(IRQ)
      },
      settle: () => this.settle(),
      output: () => readFileSync(qtest.outputFile),
    }
    return new Rig(subject, this.variant)
  }

  /** An address space behind the socket. What the driver stored goes out before each write. */
  private space(read: 'read' | 'in', write: 'write' | 'out'): Window {
    return {
      length: 2 ** 32,
      read: (address, size) => Number(this.qtest.command(`${read}${letter(size)} ${hex(address)}`)),
      write: (address, size, value) => {
        this.push()
        this.qtest.command(`${write}${letter(size)} ${hex(address)} ${hex(value >>> 0)}`)
      },
    }
  }

  /** Sends what the driver wrote since the last time, and only that: the device may be writing next to it. */
  private push() {
    const { known } = this
    const mine = this.memory.bytes.subarray(START, END)
    for (let at = 0; at < mine.length; at += 4096) {
      if (Buffer.compare(mine.subarray(at, at + 4096), known.subarray(at, at + 4096)) === 0) continue
      for (let i = at; i < at + 4096; i++) {
        if (mine[i] === known[i]) continue
        const start = i
        while (i < at + 4096 && mine[i] !== known[i]) i++
        const bytes = Buffer.from(mine.subarray(start, i)).toString('hex')
        this.qtest.command(`write ${hex(START + start)} ${i - start} 0x${bytes}`)
      }
    }
    known.set(mine)
  }
  private pull() {
    const used = this.extent()
    const bytes = Buffer.from(this.qtest.command(`read ${hex(START)} ${hex(used)}`).slice(2), 'hex')
    this.known.set(bytes)
    this.memory.bytes.set(bytes, START)
  }
  /** How far into its RAM the driver has come, in whole pages. */
  private extent() {
    let last = this.known.length - 1
    while (last > 0 && this.known[last] === 0) last--
    return Math.min(END - START, (last + 0x2000) & ~0xfff)
  }

  /** Gives its main loop a turn, backends answer from there, and fetches what it stored. */
  private settle() {
    this.push()
    this.qtest.command('endianness')
    this.pull()
  }

  private findMmio(platform: Platform): Window | undefined {
    if (!this.variant.transport.startsWith('mmio')) return undefined
    return part(platform.memory, MMIO, SLOT)
  }

  // ---- PCI: what firmware does ----

  private configure() {
    const platform: Platform = { memory: this.space('read', 'write'), ports: this.space('in', 'out') }
    const pci = new PciDevice(platform, PCI_SLOT)
    let [memory, ports] = [0xe0000000, 0xc000]
    for (let index = 0; index < 6; index++) {
      const bar = run(pci.bar(index))
      if (!bar) continue
      const at = Header.offset.bar0 + 4 * index
      if (bar.ports) {
        run(pci.write(at, 4, ports))
        ports += 0x100
      } else {
        run(pci.write(at, 4, memory))
        memory += 0x100000
        if ((run(pci.read(at, 4)) & 6) === 4) run(pci.write(at + 4, 4, 0))
      }
      if (!bar.ports && (run(pci.read(at, 4)) & 6) === 4) index++
    }
    // All four PIRQs of the PIIX3 bridge lead to one line.
    const bridge = new PciDevice(platform, 1)
    for (let i = 0; i < 4; i++) run(bridge.write(0x60 + i, 1, IRQ))
  }

  /** Leaves nothing of what the test before did to the configuration space. */
  private plain(pci: PciDevice) {
    const { IO, MEMORY, MASTER } = Header.fields.command.bits
    run(pci.write(Header.offset.command, 2, IO | MEMORY | MASTER))
    for (const at of run(pci.capabilities(0x11))) run(pci.write(at + 2, 2, 0))
  }
}
