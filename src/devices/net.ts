import type { Offload } from '../net/checksum.ts'
import { ETHERNET_HEADER, viewOf } from '../net/ethernet.ts'
import { finished } from '../net/tcp.ts'
import type { Reader } from '../virtio/chain.ts'
import { Feature } from '../virtio/core.ts'
import type { Driver, VirtioDevice } from '../virtio/device.ts'
import { BackendError, GuestError } from '../virtio/machine.ts'
import type { Virtqueue } from '../virtio/queue.ts'
import type { NetBackend } from './net-backend.ts'
import {
  answer,
  Coalescing,
  Command,
  Control,
  GuestOffloads,
  MacAddress,
  Pairs,
  readTables,
  Switch,
  Vlan,
} from './net-control.ts'
import { ReceiveFilter } from './net-filter.ts'
import { Header, LEGACY_HEADER, type Offloads, readHeader } from './net-header.ts'
import { Moderation, type Timer } from './net-moderation.ts'
import { type Backlog, type ReceiveCounters, ReceiveQueue } from './net-receive.ts'
import { Config, Net } from './net-spec.ts'
import { FlowTable } from './net-steering.ts'

const F = Net.features
const { LINK_UP, ANNOUNCE } = Config.fields.status.bits

/** The features CTRL_GUEST_OFFLOADS can turn off and on. */
const GUEST_OFFLOADS = [F.GUEST_CSUM, F.GUEST_TSO4, F.GUEST_TSO6, F.GUEST_ECN]

export interface NetOptions {
  readonly backend: NetBackend
  /** Its address, as a 48-bit number. */
  readonly mac: number
  /** Longest packet without its Ethernet header, in bytes: 1500 if absent, 68 to 65535. */
  readonly mtu?: number
  /** Pairs of queues offered: 1 if absent, at most 0x8000. */
  readonly pairs?: number
  /** What the guest is told of its speed, in Mbit/s: 10,000 if absent. */
  readonly speed?: number
  /** Largest size of each queue: 256 if absent. */
  readonly queueSize?: number
  /** What is held for a guest without buffers: 4096 packets and 8 MiB if absent. */
  readonly backlog?: Backlog
  /** Without it the driver cannot have its interrupts delayed (NOTF_COAL). */
  readonly timer?: Timer
  /**
   * Has `work` done before the guest runs next: what has come by then reaches it together. Without it every frame is
   * delivered as it comes.
   */
  readonly soon?: (work: () => void) => void
}

/** What became of frames, since the device was made. */
export interface NetCounters extends ReceiveCounters {
  /** Not for this guest: by its address, its VLAN, its modes. */
  rxFiltered: number
  txPackets: number
  txBytes: number
  /** Runt, overlong, or with a header that asks for what cannot be done. */
  txMalformed: number
  /** The link was down, or what is behind it failed. */
  txDropped: number
  /** The link was down, or there was no driver. */
  rxDown: number
}

const LONGEST_LARGE = 65535 + ETHERNET_HEADER + 4

/** virtio-net: Ethernet frames. A frame sent is gone within the notification; one received waits for the guest. */
export class NetDevice implements VirtioDevice {
  readonly spec = Net
  readonly offers: readonly number[]
  readonly queues: readonly string[]
  readonly queueSize: number
  readonly config: Uint8Array<ArrayBuffer>
  configChanged?: () => void
  readonly counters: NetCounters = {
    rxPackets: 0,
    rxBytes: 0,
    rxDropped: 0,
    rxTooLong: 0,
    rxMalformed: 0,
    rxFiltered: 0,
    rxDown: 0,
    txPackets: 0,
    txBytes: 0,
    txMalformed: 0,
    txDropped: 0,
  }
  /** Sees every frame that goes over the cable, finished or with what it lacks. */
  tap: ((frame: Uint8Array, sent: boolean, offload?: Offload) => void) | undefined
  private readonly settings: InstanceType<typeof Config>
  private driver: Driver | undefined
  private filter = new ReceiveFilter()
  private flows = new FlowTable()
  private receivers: ReceiveQueue[] = []
  private readonly moderation: { readonly rx: Moderation; readonly tx: Moderation }
  /** Pairs the driver uses. */
  private pairs = 1
  private header = Header.size
  private may: Offloads = NOTHING
  /** A delivery is to come. */
  private due = false
  private cableUp = true
  private switchedUp = true

  constructor(private readonly options: NetOptions) {
    const { backend, mac, mtu = 1500, pairs = 1, speed = 10_000, queueSize = 256, timer } = options
    if (mtu < 68 || mtu > 65535) throw new RangeError(`an MTU of ${mtu} cannot be: it is 68 to 65535 bytes`)
    if (pairs < 1 || pairs > 0x8000) throw new RangeError(`${pairs} pairs of queues cannot be: there are 1 to 32768`)
    const { MQ, NOTF_COAL, ...always } = Net.features
    this.offers = [...Object.values(always), ...(pairs > 1 ? [MQ] : []), ...(timer ? [NOTF_COAL] : [])]
    this.queues = [
      ...Array.from({ length: pairs }, (_, i) => [`receiveq${i + 1}`, `transmitq${i + 1}`]),
      'controlq',
    ].flat()
    this.queueSize = queueSize
    this.config = Config.bytes({ mac, status: LINK_UP, max_virtqueue_pairs: pairs, mtu, speed, duplex: 1 })
    this.settings = new Config(viewOf(this.config))
    this.moderation = { rx: new Moderation(timer), tx: new Moderation(timer) }
    backend.connect({
      receive: (frame, offload) => this.receive(frame, offload),
      link: up => {
        this.cableUp = up
        this.showLink()
      },
    })
  }

  /** Its address now: a driver may change it. */
  get mac() {
    return this.settings.mac
  }

  /** Frames held for the guest. */
  get backlog() {
    return this.receivers.reduce((sum, receiver) => sum + receiver.held, 0)
  }

  /** Whether the guest sees its link up. */
  get linkUp() {
    return this.cableUp && this.switchedUp
  }

  /** Pulls the plug, or puts it back in. */
  setLink(up: boolean) {
    this.switchedUp = up
    this.showLink()
  }

  private showLink() {
    const { status } = this.settings
    if (this.linkUp === ((status & LINK_UP) !== 0)) return
    // Behind a link that comes back nobody may know the guest any more: it is asked to say where it is.
    const announce = this.driver?.accepted(F.GUEST_ANNOUNCE) ? ANNOUNCE : 0
    this.settings.status = this.linkUp ? LINK_UP | announce : 0
    this.configChanged?.()
  }

  // ---- the driver ----

  activate(driver: Driver) {
    this.driver = driver
    const has = (feature: number) => driver.accepted(feature)
    const modern = has(Feature.VERSION_1)
    if (modern) this.settings.mac = this.options.mac
    const merge = has(F.MRG_RXBUF)
    this.header = modern || merge ? Header.size : LEGACY_HEADER
    this.may = { checksum: has(F.CSUM), tcp4: has(F.HOST_TSO4), tcp6: has(F.HOST_TSO6), ecn: has(F.HOST_ECN) }
    if (has(F.CTRL_VLAN)) this.filter.vlans = new Set()
    const { mtu, backlog = { packets: 4096, bytes: 8 << 20 } } = this.options
    const settings = { header: this.header, merge, mtu: has(F.MTU) ? (mtu ?? 1500) : undefined, backlog }
    const wants = guestOffloads(has)
    const pairs = has(F.MQ) ? (this.options.pairs ?? 1) : 1
    this.receivers = Array.from(
      { length: pairs },
      (_, pair) => new ReceiveQueue(driver.queues[2 * pair]!, settings, wants, this.counters),
    )
  }

  reset() {
    this.driver = undefined
    this.receivers = []
    this.filter = new ReceiveFilter()
    this.flows = new FlowTable()
    this.pairs = 1
    this.may = NOTHING
    for (const moderation of Object.values(this.moderation)) {
      moderation.flush()
      moderation.packets = moderation.microseconds = 0
    }
    this.settings.mac = this.options.mac
    this.settings.status = this.linkUp ? LINK_UP : 0
  }

  configWritten() {
    // §5.1.4.3: a driver with VERSION_1 has the control queue for it.
    if (this.driver?.accepted(Feature.VERSION_1)) this.settings.mac = this.options.mac
  }

  kick(queue: Virtqueue) {
    if (queue.index === this.controlIndex) for (const chain of queue) this.obey(chain)
    else if (queue.index & 1) this.moderation.tx.process(queue, () => this.transmit(queue))
    else this.deliver(queue.index >> 1)
  }

  /** §5.1.2: behind all pairs with MQ, and else right behind the first. */
  private get controlIndex() {
    if (!this.driver?.accepted(F.CTRL_VQ)) return -1
    return this.driver.accepted(F.MQ) ? 2 * (this.options.pairs ?? 1) : 2
  }

  // ---- to the guest ----

  private receive(frame: Uint8Array, offload: Offload | undefined) {
    const { counters, filter } = this
    if (!this.linkUp || this.receivers.length === 0) {
      counters.rxDown++
      return
    }
    this.tap?.(frame, false, offload)
    if (frame.length < ETHERNET_HEADER || !filter.accepts(frame, this.mac)) {
      counters.rxFiltered++
      return
    }
    const pair = this.pairs > 1 ? this.flows.pairOf(frame) % this.pairs : 0
    this.receivers[pair]!.add(frame, offload)
    if (!this.options.soon) return this.deliver(pair)
    if (this.due) return
    this.due = true
    this.options.soon(() => {
      this.due = false
      this.receivers.forEach((_, pair) => void this.deliver(pair))
    })
  }

  private deliver(pair: number) {
    const receiver = this.receivers[pair]
    if (receiver?.held && receiver.queue.live) this.moderation.rx.process(receiver.queue, () => receiver.deliver())
  }

  // ---- from the guest ----

  private transmit(queue: Virtqueue): number {
    let sent = 0
    const pair = queue.index >> 1
    for (const chain of queue) {
      if (pair < this.pairs) this.send(chain.reader, pair)
      chain.complete()
      sent++
    }
    return sent
  }

  private send(reader: Reader, pair: number) {
    const { counters, header } = this
    const length = reader.length - header
    if (length < 0) throw new GuestError('5.1.6', `a packet of ${reader.length} bytes has no room for its header`)
    if (length < ETHERNET_HEADER || length > LONGEST_LARGE) return void counters.txMalformed++
    const offload = readHeader(reader.bytes(header), length, this.may)
    const { mtu = 1500 } = this.options
    if (offload === 'malformed' || (!offload?.segment && length > mtu + ETHERNET_HEADER + 4))
      return void counters.txMalformed++
    if (!this.linkUp) return void counters.txDropped++
    const frame = reader.bytes(length)
    if (this.pairs > 1) this.flows.learn(frame, pair)
    this.tap?.(frame, true, offload)
    const { backend } = this.options
    try {
      if (backend.offloads) backend.send(frame, offload)
      else {
        const frames = finished(frame, offload)
        if (!frames) return void counters.txMalformed++
        for (const whole of frames) backend.send(whole)
      }
    } catch (error) {
      if (!(error instanceof BackendError)) throw error
      return void counters.txDropped++
    }
    counters.txPackets++
    counters.txBytes += length
  }

  // ---- the control queue, §5.1.6.5 ----

  private obey(chain: Parameters<typeof answer>[0]) {
    answer(chain, (kind, command, data) => {
      const { RX, MAC, VLAN, ANNOUNCE, MQ, GUEST_OFFLOADS, NOTF_COAL } = Control.fields.class.bits
      const has = (feature: number) => this.driver?.accepted(feature) ?? false
      const exactly = (size: number) => data.length === size
      const view = viewOf(data)
      switch (kind) {
        case RX:
          return exactly(Switch.size) && this.setMode(command, data[0] !== 0, has)
        case MAC:
          if (command === Command.MAC.TABLE_SET && has(F.CTRL_RX)) return this.setTables(data)
          if (command !== Command.MAC.ADDR_SET || !has(F.CTRL_MAC_ADDR) || !exactly(MacAddress.size)) return false
          this.settings.mac = new MacAddress(view).mac
          return true
        case VLAN: {
          const { vlans } = this.filter
          if (!vlans || !exactly(Vlan.size) || command > Command.VLAN.DEL) return false
          const { id } = new Vlan(view)
          if (id > 4095) return false
          if (command === Command.VLAN.ADD) vlans.add(id)
          else vlans.delete(id)
          return true
        }
        case ANNOUNCE:
          if (!has(F.GUEST_ANNOUNCE) || command !== Command.ANNOUNCE.ACK) return false
          this.settings.status &= ~Config.fields.status.bits.ANNOUNCE
          return true
        case MQ: {
          if (!has(F.MQ) || command !== Command.MQ.VQ_PAIRS_SET || !exactly(Pairs.size)) return false
          const { virtqueue_pairs } = new Pairs(view)
          if (virtqueue_pairs < 1 || virtqueue_pairs > this.receivers.length) return false
          this.pairs = virtqueue_pairs
          return true
        }
        case GUEST_OFFLOADS: {
          if (!has(F.CTRL_GUEST_OFFLOADS) || command !== Command.GUEST_OFFLOADS.SET || !exactly(GuestOffloads.size))
            return false
          return this.setOffloads(new GuestOffloads(view).offloads, has)
        }
        case NOTF_COAL: {
          if (!has(F.NOTF_COAL) || command > Command.NOTF_COAL.RX_SET || !exactly(Coalescing.size)) return false
          const { max_packets, max_usecs } = new Coalescing(view)
          const moderation = command === Command.NOTF_COAL.RX_SET ? this.moderation.rx : this.moderation.tx
          moderation.flush()
          moderation.packets = max_packets
          moderation.microseconds = max_usecs
          return true
        }
      }
      return false
    })
  }

  private setMode(command: number, on: boolean, has: (feature: number) => boolean): boolean {
    const { filter } = this
    const { PROMISC, ALLMULTI, ALLUNI, NOMULTI, NOUNI, NOBCAST } = Command.RX
    if (!has(command <= ALLMULTI ? F.CTRL_RX : F.CTRL_RX_EXTRA)) return false
    if (command === PROMISC) filter.promiscuous = on
    else if (command === ALLMULTI) filter.allMulticast = on
    else if (command === ALLUNI) filter.allUnicast = on
    else if (command === NOMULTI) filter.noMulticast = on
    else if (command === NOUNI) filter.noUnicast = on
    else if (command === NOBCAST) filter.noBroadcast = on
    else return false
    return true
  }

  private setTables(data: Uint8Array<ArrayBuffer>) {
    const tables = readTables(data)
    if (tables) this.filter.setTables(...tables)
    return tables !== undefined
  }

  private setOffloads(wanted: number, has: (feature: number) => boolean) {
    const asked = (feature: number) => Math.floor(wanted / 2 ** feature) % 2 === 1
    const known = GUEST_OFFLOADS.filter(has).reduce((sum, feature) => sum + (asked(feature) ? 2 ** feature : 0), 0)
    if (known !== wanted) return false
    for (const receiver of this.receivers) receiver.setOffloads(guestOffloads(asked))
    return true
  }
}

const NOTHING: Offloads = { checksum: false, tcp4: false, tcp6: false, ecn: false }

/** What the driver leaves to us: large packets need GUEST_CSUM too. */
const guestOffloads = (has: (feature: number) => boolean): Offloads => ({
  checksum: has(F.GUEST_CSUM),
  tcp4: has(F.GUEST_CSUM) && has(F.GUEST_TSO4),
  tcp6: has(F.GUEST_CSUM) && has(F.GUEST_TSO6),
  ecn: has(F.GUEST_ECN),
})
