/** A network device with a driver on one side and open hands on the other. */

import { NetDevice, type NetOptions } from '../../src/devices/net.ts'
import type { NetPort } from '../../src/devices/net-backend.ts'
import { Header, LEGACY_HEADER } from '../../src/devices/net-header.ts'
import { Config, Net } from '../../src/devices/net-spec.ts'
import { notInLinux, type Sent, TestBoard, TestMachine, type TestOptions } from '../../src/driver/testing.ts'
import type { Offload } from '../../src/net/checksum.ts'

export const F = Net.features
export const MAC = 0x020000000001
type HeaderValues = { -readonly [K in keyof InstanceType<typeof Header>]?: number }

/** Delays that a test lets run out itself. */
export class TestTimer {
  readonly due: { readonly milliseconds: number; readonly work: () => void }[] = []
  after(milliseconds: number, work: () => void) {
    const entry = { milliseconds, work }
    this.due.push(entry)
    return () => void this.due.splice(this.due.indexOf(entry), 1)
  }
  run() {
    for (const { work } of this.due.splice(0)) work()
  }
}

export interface NicOptions extends TestOptions {
  readonly net?: Partial<NetOptions>
  /** The backend takes unfinished frames. */
  readonly offloads?: boolean
  /** Features the driver does not take, by number. */
  readonly without?: readonly number[]
}

export function nic({ net = {}, offloads = false, without = [], ...options }: NicOptions = {}) {
  const wire: { readonly frame: Uint8Array; readonly offload: Offload | undefined }[] = []
  let port!: NetPort
  const device = new NetDevice({
    mac: MAC,
    backend: {
      offloads,
      connect: given => void (port = given),
      send: (frame, offload) => void wire.push({ frame, offload }),
    },
    ...net,
  })
  const board = new TestBoard(0x180000)
  const machine = new TestMachine(device, { ...options, refuse: [...notInLinux, ...without] }, board)
  const modern = !options.transport?.endsWith('legacy')
  const header = modern || !without.includes(F.MRG_RXBUF) ? Header.size : LEGACY_HEADER
  const { pairs = 1 } = net
  const control = without.includes(F.MQ) ? 2 : 2 * pairs
  return {
    device,
    machine,
    /** What came out of the far end. */
    wire,
    port,
    header,
    counters: device.counters,
    get needsReset() {
      return (machine.status & 64) !== 0
    },
    config: () => {
      const bytes = Uint8Array.from({ length: Config.size }, (_, i) => machine.config(i, 1))
      return new Config(new DataView(bytes.buffer))
    },
    /** Gives the device a receive buffer. */
    give: (room: number | readonly number[], pair = 0) => machine.send(2 * pair, [], room),
    /** Whether a frame reaches the driver, which has buffers enough. */
    takes: (frame: Uint8Array) => {
      machine.send(0, [], 1600)
      const { rxPackets } = device.counters
      port.receive(frame)
      return device.counters.rxPackets > rxPackets
    },
    /** Sends a frame behind a header. */
    send: (frame: Uint8Array, values: HeaderValues = {}, pair = 0) =>
      machine.send(2 * pair + 1, [Header.bytes(values).subarray(0, header), frame]),
    /** Gives a command; answers for the acknowledgment, 0 for OK. */
    command: (kind: number, command: number, data: Uint8Array, queue = control) =>
      machine.send(queue, [Uint8Array.of(kind, command), data], 1).input[0],
    /** What is in a buffer that came back. */
    received: (sent: Sent) => {
      if (!sent.used) return
      const bytes = new Uint8Array(Header.size)
      bytes.set(sent.input.subarray(0, header))
      return { header: new Header(new DataView(bytes.buffer)), frame: sent.input.slice(header, sent.written) }
    },
  }
}

/** A frame with nothing particular in it. */
export function frameTo(destination: number, length = 60, vlan?: number) {
  const frame = Uint8Array.from({ length }, (_, i) => i)
  const bytes = (mac: number) =>
    [...mac.toString(16).padStart(12, '0').matchAll(/../g)].map(([hex]) => Number.parseInt(hex, 16))
  frame.set([...bytes(destination), ...bytes(0x020000000099), 0x88, 0xb5])
  if (vlan !== undefined) frame.set([0x81, 0x00, vlan >> 8, vlan & 255], 12)
  return frame
}
