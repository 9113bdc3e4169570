import type { BootPlan } from '../src/boot/plan.ts'
import type { ConsoleDevice } from '../src/devices/console.ts'
import type { ConsoleInfo, MachineState } from './api.ts'
import type { CdImage } from './cd-image.ts'
import type { MachineDescription } from './description.ts'
import { attach, type Surroundings } from './device-types.ts'
import { EndWatch } from './end-watch.ts'
import type { Nic } from './net.ts'
import { announce, type Place, place, TUNING } from './placement.ts'
import { type PoweredOn, powerOn, type Slot } from './power-on.ts'
import { Scheduler } from './scheduler.ts'
import { TypeAhead } from './type-ahead.ts'
import { Board, type BoardEvents, type Firmware, TripleFault } from './v86.ts'

const MIB = 1 << 20
/** The CPU must be busy for so long, in milliseconds, before anybody suspects a panic. */
const SUSPICIOUS = 300

/** v86's serial port: what kernels without a virtio console speak through. */
export const SERIAL: ConsoleInfo = { device: -1, port: 0, name: 'ttyS0' }

export interface MachineEvents {
  state(state: MachineState, detail?: string): void
  /** What the guest says on a console, valid until the call returns. */
  output(console: ConsoleInfo, bytes: Uint8Array): void
  /** A bug of ours, in a device. The guest runs on. */
  problem(title: string, detail: string): void
}

export interface MachineOptions {
  readonly description: MachineDescription
  /** `v86.wasm`, compiled. */
  readonly wasm: WebAssembly.Module
  readonly columns: number
  readonly rows: number
  readonly events: MachineEvents
  /** Opens the disks the description names. */
  readonly disk: Surroundings['disk']
}

/** What runs first: a kernel, whose plan is asked for again at every reset, or a BIOS. */
export type First = (() => BootPlan) | Firmware

/** A console device and how its ports are. */
interface Terminals {
  device: ConsoleDevice
  /** Of its first port. */
  typeAhead: TypeAhead
  readonly open: boolean[]
  /** It has written something, so it has made its port. */
  heard: boolean
  columns: number
  rows: number
}

/** The whole computer: a board, its devices, and how it fares. */
export class Machine {
  state: MachineState = 'empty'
  /** Everything the kernel is told, in front of what the description adds. */
  readonly cmdline: string
  private readonly scheduler = new Scheduler(
    () => this.slice(),
    error => this.crashed(error),
  )
  private readonly watch = new EndWatch()
  private readonly slots: Slot[] = []
  /** Its network cards, in the order of the description. */
  readonly nics: Nic[] = []
  private readonly terminals = new Map<number, Terminals>()
  private readonly consoleInfos = new Map<string, ConsoleInfo>()
  private board: Board | undefined
  private cdrom: (CdImage & { close?(): void | Promise<void> }) | undefined
  private first: First | undefined
  private poweredOn: PoweredOn | undefined
  private unloadFirmware: (() => void) | undefined
  private resetting: Promise<void> | undefined
  private before: MachineState = 'empty'
  private rested = 0
  private serialSpoke = false

  private constructor(private readonly options: MachineOptions) {
    const { description } = options
    const places = place(description.devices.map(({ transport }) => transport))
    const terminal = description.devices.some(({ type }) => type === 'console') ? 'hvc0' : 'ttyS0'
    this.cmdline = [`console=${terminal}`, TUNING, ...announce(places), description.cmdline].filter(Boolean).join(' ')
    this.places = places
  }
  private readonly places: readonly Place[]

  /** Builds the machine; nothing runs yet. */
  static async create(options: MachineOptions): Promise<Machine> {
    const machine = new Machine(options)
    try {
      await machine.insertCd()
      const [board] = await Promise.all([machine.makeBoard(), machine.attachAll()])
      machine.board = board
    } catch (error) {
      await machine.close()
      throw error
    }
    return machine
  }

  private async insertCd() {
    const { description, disk } = this.options
    const image = description.cdrom
    if (image) this.cdrom = await disk({ type: 'block', transport: description.transport, image, readonly: true })
  }

  private makeBoard() {
    const events: BoardEvents = {
      wake: () => this.scheduler.wake(),
      halted: () => this.ended(this.watch.halted()),
      reset: () => {
        this.scheduler.hold('stopped')
        queueMicrotask(() => void this.reset().catch(error => this.crashed(error))) // once the slice is over
      },
      serial: byte => {
        this.serialSpoke = true
        this.output(SERIAL, Uint8Array.of(byte))
      },
      unreadable: error => this.options.events.problem('The CD cannot be read', (error as Error).message),
      fault: error => this.bug('A device failed', error),
    }
    const { description, wasm } = this.options
    return Board.create({ memory: description.memory * MIB, wasm, cdrom: this.cdrom }, events)
  }

  private async attachAll() {
    for (const [index, description] of this.options.description.devices.entries()) {
      const { columns, rows } = this.options
      const terminals = () => this.terminals.get(index)
      const attachment = await attach(description, {
        name: `${description.type}${index}`,
        soon: work => this.scheduler.soon(work),
        nic: nic => this.nics.push(nic),
        get terminal() {
          return terminals() ?? { columns, rows }
        },
        console: device => {
          const first = index === this.consoles[0]!.device
          const typeAhead = new TypeAhead(bytes =>
            first && this.shellOnSerial ? this.typeSerial(bytes) : device.input(0, bytes),
          )
          this.terminals.set(index, { columns, rows, ...terminals(), device, typeAhead, open: [], heard: false })
        },
        disk: this.options.disk,
        output: (port, bytes) => {
          const there = terminals()
          if (there && !there.heard) {
            there.heard = true
            there.device.showSize()
          }
          this.output(this.consoleOf(index, port), bytes)
        },
        opened: (port, open) => {
          const there = terminals()
          if (there) there.open[port] = open
        },
      })
      this.slots.push({ description, place: this.places[index]!, attachment })
    }
  }

  // ---- life ----

  start(first: First) {
    this.first = first
    this.powerOn()
  }

  private powerOn() {
    const board = this.board!
    this.watch.reset()
    this.serialSpoke = false
    this.rested = performance.now()
    const first = this.first!
    const firmware = typeof first !== 'function'
    this.poweredOn = powerOn(board, this.slots, { firmware, bug: (title, error) => this.bug(title, error) })
    if (firmware) this.unloadFirmware = board.loadFirmware(first)
    else board.load(first())
    this.enter('booting')
    this.scheduler.release('stopped')
  }

  pause() {
    if (this.state !== 'booting' && this.state !== 'running') return
    this.scheduler.hold('paused')
    this.before = this.state
    this.enter('paused')
  }

  resume() {
    if (this.state !== 'paused') return
    this.enter(this.before)
    this.scheduler.release('paused')
  }

  /** Starts the same kernel or BIOS again from the beginning. */
  reset(): Promise<void> {
    this.resetting ??= this.restart().finally(() => {
      this.resetting = undefined
    })
    return this.resetting
  }

  private async restart() {
    if (!this.first) throw new Error('There is no machine to reset. Boot one first.')
    this.scheduler.hold('stopped')
    this.unplug()
    if (!(await this.board?.reset())) this.board = await this.makeBoard()
    if (!this.first) return // powered off meanwhile
    this.scheduler.release('paused')
    this.powerOn()
  }

  /** Stops for good, and lets go of everything. */
  async powerOff(): Promise<void> {
    await this.close()
    this.enter('powered-off')
  }

  private async close() {
    this.scheduler.hold('stopped')
    this.unplug()
    this.first = this.board = undefined
    this.nics.length = 0
    await Promise.all([...this.slots.splice(0).map(({ attachment }) => attachment.close?.()), this.cdrom?.close?.()])
  }

  /** The CPU stands still while anybody holds it: a terminal that is far behind, for one. */
  hold(reason: string) {
    this.scheduler.hold(reason)
  }
  release(reason: string) {
    this.scheduler.release(reason)
  }

  private slice(): number {
    const idle = this.board!.slice()
    const now = performance.now()
    for (const { typeAhead, open, heard } of this.terminals.values())
      typeAhead.look(now, { resting: idle > 0, driven: open[0] ?? false, heard })
    if (idle > 0) this.rested = now
    else if (now - this.rested > SUSPICIOUS) {
      this.rested = now
      if (this.watch.panicked()) this.ended('panicked')
    }
    return idle
  }

  private ended(state: MachineState, detail?: string) {
    this.scheduler.hold('stopped')
    this.enter(state, detail)
  }

  private crashed(error: unknown) {
    this.board = undefined // its innards are in an unknown state
    if (error instanceof TripleFault) this.ended('triple-fault', error.message)
    else this.ended('failed', error instanceof Error ? error.message : String(error))
  }

  private enter(state: MachineState, detail?: string) {
    this.state = state
    this.options.events.state(state, detail)
  }

  private bug(title: string, error: unknown) {
    this.options.events.problem(title, error instanceof Error ? (error.stack ?? error.message) : String(error))
  }

  // ---- consoles ----

  /** What the guest may be talked to through, the one to be shown first in front. */
  get consoles(): readonly ConsoleInfo[] {
    const devices = this.options.description.devices.flatMap((description, device) =>
      description.type === 'console' ? (description.ports ?? [{}]).map((_, port) => this.consoleOf(device, port)) : [],
    )
    return [...devices, SERIAL]
  }

  /** Types. Answers how many bytes were dropped because the guest has not taken the last megabyte. */
  input(console: ConsoleInfo, bytes: Uint8Array): number {
    // What comes before a kernel with virtio, and one without, are talked to by the serial port.
    const elsewhere = this.serialSpoke && console === this.consoles[0] && !this.isOpen(console)
    if (console.device >= 0 && !elsewhere) {
      const there = this.terminals.get(console.device)
      if (console.port === 0) return there?.typeAhead.input(bytes) ?? bytes.length
      return there?.device.input(console.port, bytes) ?? bytes.length
    }
    return this.typeSerial(bytes)
  }

  private typeSerial(bytes: Uint8Array) {
    this.board?.serial(bytes)
    return 0
  }

  /** A kernel gives its shell the last console it is told of. */
  private get shellOnSerial() {
    return /.*\bconsole=(\w+)/.exec(this.cmdline)?.[1]?.startsWith('ttyS') ?? false
  }

  /** In characters. */
  resize({ device, port }: ConsoleInfo, columns: number, rows: number) {
    const terminals = this.terminals.get(device)
    if (!terminals) return
    if (port === 0) Object.assign(terminals, { columns, rows })
    terminals.device.resize(port, columns, rows)
  }

  /** The guest has this port open. */
  isOpen({ device, port }: ConsoleInfo): boolean {
    return this.terminals.get(device)?.open[port] ?? false
  }

  private consoleOf(device: number, port: number): ConsoleInfo {
    const key = `${device}.${port}`
    let info = this.consoleInfos.get(key)
    if (!info) {
      const description = this.options.description.devices[device]!
      const name = description.type === 'console' ? description.ports?.[port]?.name : undefined
      this.consoleInfos.set(key, (info = { device, port, name: name ?? 'console' }))
    }
    return info
  }

  private output(console: ConsoleInfo, bytes: Uint8Array) {
    this.watch.output(console, bytes)
    if (this.state === 'booting') this.enter('running')
    this.options.events.output(console, bytes)
  }

  // ---- devices ----

  private unplug() {
    this.poweredOn?.unplug()
    this.unloadFirmware?.()
    this.poweredOn = this.unloadFirmware = undefined
  }
}
