import type { DeviceSpec, Driver, VirtioDevice } from '../virtio/device.ts'
import { le16, le32, struct, writable } from '../virtio/layout.ts'
import type { Virtqueue } from '../virtio/queue.ts'
import { InputBuffer } from './console-input.ts'

export const Config = struct('virtio_console_config', '5.3.4', {
  cols: le16('width in characters, with SIZE'),
  rows: le16('height in characters, with SIZE'),
  max_nr_ports: le32('how many ports there can be, with MULTIPORT'),
  emerg_wr: writable(le32('writing it prints its low byte, even before the driver is there')),
})

/** §5.3.6.2 */
export const Control = struct('virtio_console_control', '5.3.6.2', {
  id: le32('port number'),
  event: le16('', {
    DEVICE_READY: 0,
    PORT_ADD: 1,
    PORT_REMOVE: 2,
    PORT_READY: 3,
    CONSOLE_PORT: 4,
    RESIZE: 5,
    PORT_OPEN: 6,
    PORT_NAME: 7,
  }),
  value: le16('1 for yes'),
})
export const Resize = struct('virtio_console_resize', '5.3.6.2', { cols: le16(), rows: le16() })
const { DEVICE_READY, PORT_ADD, PORT_REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME } =
  Control.fields.event.bits

export const Console = {
  id: 3,
  name: 'console',
  section: '5.3',
  queues: ['receiveq0', 'transmitq0'],
  features: { SIZE: 0, MULTIPORT: 1, EMERG_WRITE: 2 },
  config: Config,
} as const satisfies DeviceSpec
const { SIZE, MULTIPORT, EMERG_WRITE } = Console.features

/** The host's end of a port. */
export interface ConsolePort {
  /** What the guest calls it: /dev/virtio-ports/NAME. */
  readonly name?: string
  /** A terminal (hvc0, …); otherwise a plain byte channel. Port 0 alone is always a terminal. */
  readonly terminal?: boolean
  /** Bytes from the guest, valid until the call returns. */
  output(bytes: Uint8Array): void
  /** The guest opened or closed it. */
  opened?(open: boolean): void
}

export interface ConsoleOptions {
  readonly ports: readonly ConsolePort[]
  /** Offer MULTIPORT though there is but one port. */
  readonly multiport?: boolean
  readonly columns?: number
  readonly rows?: number
  /** How much input a port holds for a guest that does not take it, in bytes: 1 MiB if absent. */
  readonly inputLimit?: number
}

interface Port {
  readonly host: ConsolePort
  readonly input: InputBuffer
  columns: number
  rows: number
  /** The guest has been told of it. */
  added: boolean
  /** The guest has it open, and takes input. */
  open: boolean
}

/** Which port a queue belongs to: the control queues stand between the first port's and the others' (§5.3.2). */
const portOf = (queue: number) => (queue < 2 ? 0 : (queue >> 1) - 1)
const receiveQueue = (port: number) => (port === 0 ? 0 : 2 * port + 2)
const CONTROL_RECEIVE = 2
const CONTROL_TRANSMIT = 3

/** virtio-console: terminals and byte channels. Output is complete within the notification; input waits for the guest. */
export class ConsoleDevice implements VirtioDevice {
  readonly spec = Console
  readonly offers: readonly number[]
  readonly queues: readonly string[]
  readonly config: Uint8Array
  configChanged?: () => void
  private readonly settings: InstanceType<typeof Config>
  private readonly ports: Port[]
  private driver: Driver | undefined
  private multiport = false
  /** Control messages that wait for a buffer. */
  private messages: Uint8Array[] = []

  constructor({ ports, multiport = ports.length > 1, columns = 80, rows = 25, inputLimit = 1 << 20 }: ConsoleOptions) {
    this.offers = [SIZE, EMERG_WRITE, ...(multiport ? [MULTIPORT] : [])]
    const others = ports.slice(1).flatMap((_, i) => [`receiveq${i + 1}`, `transmitq${i + 1}`])
    this.queues = multiport ? [...Console.queues, 'control receiveq', 'control transmitq', ...others] : Console.queues
    this.config = Config.bytes({ cols: columns, rows, max_nr_ports: ports.length })
    this.settings = new Config(new DataView(this.config.buffer))
    this.ports = ports.map(host => ({
      host,
      input: new InputBuffer(inputLimit),
      columns,
      rows,
      added: false,
      open: false,
    }))
  }

  /** Bytes for the guest: delivered now, or held until it offers a buffer. Returns how many had to be dropped. */
  input(port: number, bytes: Uint8Array): number {
    const target = this.port(port)
    const dropped = target.input.add(bytes)
    this.deliver(port)
    return dropped
  }

  /** Bytes of input waiting in a port, and dropped so far because it was full. */
  inputState(port: number): { readonly waiting: number; readonly dropped: number } {
    const { length, dropped } = this.port(port).input
    return { waiting: length, dropped }
  }

  /** The terminal has a new size, in characters. */
  resize(port: number, columns: number, rows: number) {
    const target = this.port(port)
    if (target.columns === columns && target.rows === rows) return
    Object.assign(target, { columns, rows })
    if (port === 0) {
      this.settings.cols = columns
      this.settings.rows = rows
      this.configChanged?.()
    }
    if (this.multiport && target.added && this.isTerminal(port)) this.sendSize(port)
  }

  /**
   * Makes a driver without MULTIPORT look at the size. Linux reads it at a configuration change and never before, so it
   * begins with 0 by 0; a change before it has made its port would come too early for it.
   */
  showSize() {
    if (this.driver && !this.multiport) this.configChanged?.()
  }

  /** Takes a port away from the guest, or gives it back (hot-plug, with MULTIPORT). */
  plug(port: number, present: boolean) {
    const target = this.port(port)
    if (!this.multiport || target.added === present) return
    target.added = present
    target.open = false
    this.send(port, present ? PORT_ADD : PORT_REMOVE, 1)
  }

  activate(driver: Driver) {
    this.driver = driver
    this.multiport = driver.accepted(MULTIPORT)
    if (!this.multiport) this.open(0, true)
  }

  reset() {
    this.driver = undefined
    this.multiport = false
    this.messages = []
    this.ports.forEach((port, index) => {
      port.added = false
      this.open(index, false)
    })
  }

  kick(queue: Virtqueue) {
    const { index } = queue
    if (this.multiport && index === CONTROL_TRANSMIT) this.obey(queue)
    else if (this.multiport && index === CONTROL_RECEIVE) this.flush(queue)
    else if (index & 1) this.transmit(queue)
    else this.deliver(portOf(index))
  }

  configWritten() {
    this.ports[0]?.host.output(Uint8Array.of(this.settings.emerg_wr & 0xff))
  }

  private transmit(queue: Virtqueue) {
    const { host } = this.port(portOf(queue.index))
    for (const chain of queue) {
      chain.reader.pieces(chain.reader.left, piece => host.output(piece))
      chain.complete()
    }
  }

  private deliver(index: number) {
    const { input, open } = this.port(index)
    const queue = this.driver?.queues[receiveQueue(index)]
    if (!open || !queue || input.length === 0) return
    queue.process(() => {
      while (input.length > 0) {
        const chain = queue.pop()
        if (!chain) return
        chain.writer.pieces(Math.min(chain.writer.length, input.length), piece => input.take(piece))
        chain.complete()
      }
    })
  }

  // ---- control messages, §5.3.6.2 ----

  private obey(queue: Virtqueue) {
    for (const chain of queue) {
      if (chain.reader.length >= Control.size) {
        const { id, event, value } = chain.reader.struct(Control)
        this.handle(id, event, value)
      }
      chain.complete()
    }
  }

  private handle(id: number, event: number, value: number) {
    if (event === DEVICE_READY) {
      if (value === 1) this.ports.forEach((_, port) => void this.plug(port, true))
      return
    }
    const port = this.ports[id]
    if (!port?.added) return // a port the guest was never told of
    if (event === PORT_READY && value === 1) this.introduce(id)
    else if (event === PORT_OPEN) this.open(id, value === 1)
  }

  /** Everything the guest wants to know of a port it has just made. */
  private introduce(id: number) {
    const { name } = this.port(id).host
    if (this.isTerminal(id)) {
      this.send(id, CONSOLE_PORT, 1)
      this.sendSize(id)
    }
    if (name) this.send(id, PORT_NAME, 1, ascii(name))
    this.send(id, PORT_OPEN, 1)
  }

  private open(id: number, open: boolean) {
    const port = this.port(id)
    if (port.open === open) return
    port.open = open
    port.host.opened?.(open)
    if (open) this.deliver(id)
  }

  private isTerminal(id: number) {
    return this.port(id).host.terminal ?? id === 0
  }

  private sendSize(id: number) {
    const { columns: cols, rows } = this.port(id)
    this.send(id, RESIZE, 0, Resize.bytes({ cols, rows }))
  }

  private send(id: number, event: number, value: number, more = new Uint8Array()) {
    const message = Uint8Array.of(...Control.bytes({ id, event, value }), ...more)
    // Of several sizes only the last matters.
    const head = message.subarray(0, 6).join()
    if (event === RESIZE) this.messages = this.messages.filter(old => old.subarray(0, 6).join() !== head)
    this.messages.push(message)
    const queue = this.driver?.queues[CONTROL_RECEIVE]
    if (queue) queue.process(() => this.flush(queue))
  }

  private flush(queue: Virtqueue) {
    while (this.messages.length > 0) {
      const chain = queue.pop()
      if (!chain) return
      const message = this.messages.shift()!
      chain.writer.bytes(message.subarray(0, chain.writer.length))
      chain.complete()
    }
  }

  private port(index: number): Port {
    const port = this.ports[index]
    if (!port) throw new RangeError(`the console has no port ${index}`)
    return port
  }
}

const ascii = (text: string) => Uint8Array.from(text, char => char.charCodeAt(0))
