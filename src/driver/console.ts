import { Config, Console, Control, Resize } from '../devices/console.ts'
import type { Infer } from '../virtio/layout.ts'
import { ANY, type BusDevice, type VirtioDriver } from './bus.ts'
import type { DriverQueue } from './queue.ts'
import type { Steps } from './steps.ts'

const { SIZE, MULTIPORT } = Console.features
const { DEVICE_READY, PORT_ADD, PORT_REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME } =
  Control.fields.event.bits
/** What Linux gives a receive queue, in bytes a buffer. */
const BUFFER = 4096
/** Buffers kept in each receive queue. */
const BUFFERS = 4

/** A port, as the driver knows it. */
export interface DriverPort {
  readonly id: number
  name: string
  /** It is a terminal (hvcN). */
  terminal: boolean
  hostOpen: boolean
  columns: number
  rows: number
  /** Everything received. */
  readonly received: Uint8Array[]
}

interface PortQueues {
  readonly port: DriverPort
  readonly receive: DriverQueue<number>
  readonly transmit: DriverQueue<number>
}

/** virtio-console's driver: one terminal, or with MULTIPORT whatever ports the device announces. */
export class ConsoleDriver implements VirtioDriver {
  readonly name = 'virtio_console'
  readonly ids = [{ device: Console.id, vendor: ANY }]
  readonly features = [SIZE, MULTIPORT]
  readonly ports = new Map<number, DriverPort>()
  private readonly byPort = new Map<number, PortQueues>()
  private control: { receive: DriverQueue<number>; transmit: DriverQueue<number> } | undefined
  private device: BusDevice | undefined;

  *probe(device: BusDevice): Steps {
    this.device = device
    const receive = yield* device.findQueue<number>(0)
    const transmit = yield* device.findQueue<number>(1)
    if (!device.has(MULTIPORT)) {
      this.attach(0, receive, transmit).terminal = true
      yield* device.ready()
      yield* this.fill(receive)
      yield* this.configChanged()
      return
    }
    const layout = new Config(new DataView((yield* device.readConfig(0, Config.size)).buffer))
    const ports = layout.max_nr_ports
    this.control = { receive: yield* device.findQueue<number>(2), transmit: yield* device.findQueue<number>(3) }
    this.attach(0, receive, transmit)
    for (let id = 1; id < ports; id++)
      this.attach(id, yield* device.findQueue<number>(2 * id + 2), yield* device.findQueue<number>(2 * id + 3))
    this.ports.clear()
    this.control.receive.callback = queue => this.messages(queue)
    this.control.transmit.callback = queue => this.sent(queue)
    yield* device.ready()
    yield* this.fill(this.control.receive)
    yield* this.tell(0, DEVICE_READY, 1)
  }

  *remove({ arena }: BusDevice): Steps {
    for (const { receive, transmit } of [...this.byPort.values(), ...(this.control ? [this.control] : [])]) {
      for (const address of receive.ring.detach()) arena.release(address, BUFFER)
      for (const address of transmit.ring.detach()) arena.release(address, this.lengths.get(address) ?? 0)
    }
    this.ports.clear()
    this.byPort.clear()
    this.control = undefined
  }

  *configChanged(): Steps {
    const { device } = this
    const port = this.ports.get(0)
    if (!device?.has(SIZE) || !port) return
    const { cols, rows } = new Config(new DataView((yield* device.readConfig(0, Config.size)).buffer))
    Object.assign(port, { columns: cols, rows })
  }

  /** Sends bytes out of a port. Fails with `RangeError` if its queue is full. */
  *write(id: number, bytes: Uint8Array): Steps {
    yield* this.send(this.queues(id).transmit, bytes)
  }

  /** Opens or closes a port (MULTIPORT). */
  *open(id: number, open: boolean): Steps {
    yield* this.tell(id, PORT_OPEN, Number(open))
  }

  private attach(id: number, receive: DriverQueue<number>, transmit: DriverQueue<number>): DriverPort {
    const port = { id, name: '', terminal: false, hostOpen: false, columns: 0, rows: 0, received: [] }
    this.byPort.set(id, { port, receive, transmit })
    this.ports.set(id, port)
    receive.callback = queue => this.receive(port, queue)
    transmit.callback = queue => this.sent(queue)
    return port
  }

  private *fill(queue: DriverQueue<number>): Steps {
    for (let i = 0; i < BUFFERS; i++) {
      const address = this.arena.allocate(BUFFER)
      queue.add([], [{ address, length: BUFFER }], address)
    }
    yield* queue.kick()
  }

  private *receive(port: DriverPort, queue: DriverQueue<number>): Steps {
    for (const { token, length } of queue.drain()) {
      port.received.push(this.arena.memory.slice(token, length).slice())
      queue.add([], [{ address: token, length: BUFFER }], token)
    }
    yield* queue.kick()
  }

  private *send(queue: DriverQueue<number>, bytes: Uint8Array): Steps {
    const address = this.arena.allocate(bytes.length)
    this.arena.memory.write(address, bytes)
    this.lengths.set(address, bytes.length)
    if (!queue.add([{ address, length: bytes.length }], [], address)) throw new RangeError('the queue is full')
    yield* queue.kick()
  }
  private readonly lengths = new Map<number, number>()

  private *sent(queue: DriverQueue<number>): Steps {
    for (const { token } of queue.drain()) this.arena.release(token, this.lengths.get(token) ?? 0)
  }

  // ---- control messages, §5.3.6.2 ----

  private *tell(id: number, event: number, value: number): Steps {
    if (this.control) yield* this.send(this.control.transmit, Control.bytes({ id, event, value }))
  }

  private *messages(queue: DriverQueue<number>): Steps {
    for (const { token, length } of queue.drain()) {
      const bytes = this.arena.memory.slice(token, length).slice()
      queue.add([], [{ address: token, length: BUFFER }], token)
      if (length >= Control.size)
        yield* this.obey(new Control(new DataView(bytes.buffer)), bytes.subarray(Control.size))
    }
    yield* queue.kick()
  }

  private *obey({ id, event, value }: Infer<typeof Control>, more: Uint8Array): Steps {
    if (event === PORT_ADD) return yield* this.add(id)
    const port = this.ports.get(id)
    if (!port) return
    if (event === PORT_REMOVE) this.ports.delete(id)
    else if (event === PORT_OPEN) port.hostOpen = value === 1
    else if (event === PORT_NAME) port.name = String.fromCharCode(...more).replace(/\0$/, '')
    else if (event === RESIZE && more.length >= Resize.size) {
      const { cols, rows } = new Resize(new DataView(more.buffer, more.byteOffset))
      Object.assign(port, { columns: cols, rows })
    } else if (event === CONSOLE_PORT && value === 1) {
      port.terminal = true
      yield* this.open(id, true)
    }
  }

  private *add(id: number): Steps {
    const queues = this.byPort.get(id)
    if (!queues || this.ports.has(id)) return
    this.ports.set(id, queues.port)
    yield* this.fill(queues.receive)
    yield* this.tell(id, PORT_READY, 1)
  }

  private queues(id: number) {
    const queues = this.byPort.get(id)
    if (!queues) throw new RangeError(`there is no port ${id}`)
    return queues
  }
  private get arena() {
    if (!this.device) throw new Error('the console driver has no device')
    return this.device.arena
  }
}
