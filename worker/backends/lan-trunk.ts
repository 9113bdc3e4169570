/** What joins the switches of several tabs: frames and address claims over BroadcastChannel. */

import type { AddressTable, Clock, Lease } from '../../src/net/address-table.ts'
import type { Offload } from '../../src/net/checksum.ts'
import { isGroupMac, readEthernet } from '../../src/net/ethernet.ts'
import type { AddressClaims } from '../../src/net/lan-services.ts'
import type { Switch, SwitchPort } from '../../src/net/switch.ts'
import { type FrameBatch, packFrames, unpackFrames } from './frame-batch.ts'

/** How long others have to object to an address, in milliseconds. */
const OBJECTION = 100
/** Bytes on their way to one tab that has not said it got them; beyond it frames for it are lost. */
const WINDOW = 16 << 20
/** Bytes gathered before they are sent, though the guest still runs. */
const BATCH = 1 << 20
/** Bytes received before it is said that they were: a word about every batch would double the messages. */
const RECEIPT = 1 << 20
const REMEMBERED = 4096

/** `seconds` and not a moment: every tab has a clock of its own. */
type SharedLease = { readonly ip: number; readonly mac: number; readonly name?: string; readonly seconds: number }
type Message = { readonly from: string } & (
  | { readonly say: 'hello' | 'bye' }
  | { readonly say: 'here'; readonly leases: readonly SharedLease[] }
  | { readonly say: 'frames'; readonly batch: FrameBatch }
  | { readonly say: 'got'; readonly bytes: number }
  | { readonly say: 'claim'; readonly lease: SharedLease }
  | { readonly say: 'object' | 'release'; readonly ip: number; readonly mac: number }
)
/** Without its sender. */
type Said = Message extends infer M ? (M extends Message ? Omit<M, 'from'> : never) : never

interface Peer {
  readonly channel: BroadcastChannel
  /** Sent, and not known to have arrived. */
  outstanding: number
  frames: [Uint8Array, Offload | undefined][]
  /** Arrived from there, and not said so yet. */
  unsaid: number
}

export class LanTrunk {
  /** Frames lost because a tab did not keep up. */
  dropped = 0
  readonly claims: AddressClaims = {
    claim: lease => this.claim(lease),
    release: ({ ip, mac }) => this.say({ say: 'release', ip, mac }),
  }
  private readonly id = crypto.randomUUID()
  private readonly all: BroadcastChannel
  private readonly own: BroadcastChannel
  private readonly others = new Map<string, Peer>()
  /** Behind which tab a station was last heard. */
  private readonly stations = new Map<number, string>()
  private readonly pending = new Map<number, (granted: boolean) => void>()
  private broadcasts: [Uint8Array, Offload | undefined][] = []
  private gathered = 0
  private due = false
  private socket: SwitchPort | undefined
  private addresses: AddressTable | undefined

  constructor(
    private readonly segment: string,
    private readonly clock: Clock,
  ) {
    this.all = this.channel()
    this.own = this.channel(this.id)
    this.all.onmessage = this.own.onmessage = ({ data }: MessageEvent<Message>) => this.hear(data)
  }

  /** Takes its place on the switch, and makes itself known. */
  open(lan: Switch, addresses: AddressTable) {
    this.addresses = addresses
    this.socket = lan.attach({ send: (frame, offload) => this.send(frame, offload) })
    this.say({ say: 'hello' })
  }

  get peers() {
    return this.others.size
  }

  close() {
    this.say({ say: 'bye' })
    for (const { channel } of this.others.values()) channel.close()
    this.others.clear()
    this.all.close()
    this.own.close()
  }

  /** The number in the name is the protocol's. */
  private channel(to?: string) {
    const channel = new BroadcastChannel(['ringlet-lan-1', this.segment, ...(to ? [to] : [])].join('/'))
    ;(channel as { unref?(): void }).unref?.()
    return channel
  }

  private say(message: Said, to: BroadcastChannel = this.all) {
    to.postMessage({ ...message, from: this.id })
  }

  // ---- frames ----

  private send(frame: Uint8Array, offload: Offload | undefined) {
    if (this.others.size === 0) return
    const station = this.stations.get(readEthernet(frame)!.destination)
    const peer = station === undefined ? undefined : this.others.get(station)
    if (peer && peer.outstanding + frame.length > WINDOW) {
      this.dropped++
      return
    }
    if (peer) peer.outstanding += frame.length
    ;(peer?.frames ?? this.broadcasts).push([frame, offload])
    this.gathered += frame.length
    if (this.gathered > BATCH) this.flush()
    else if (!this.due) {
      // The guest runs in one go: what it sends until it stops goes together.
      this.due = true
      queueMicrotask(() => {
        this.due = false
        this.flush()
      })
    }
  }

  private flush() {
    this.gathered = 0
    if (this.broadcasts.length > 0) this.say({ say: 'frames', batch: packFrames(this.broadcasts) })
    this.broadcasts = []
    for (const peer of this.others.values()) {
      if (peer.frames.length === 0) continue
      this.say({ say: 'frames', batch: packFrames(peer.frames) }, peer.channel)
      peer.frames = []
    }
  }

  private receive(batch: FrameBatch, from: string) {
    for (const [frame, offload] of unpackFrames(batch)) {
      const header = readEthernet(frame)
      if (!header) continue
      if (!isGroupMac(header.source) && this.stations.get(header.source) !== from) {
        if (this.stations.size >= REMEMBERED) this.stations.delete(this.stations.keys().next().value!)
        this.stations.set(header.source, from)
      }
      this.socket?.receive(frame, offload)
    }
    const peer = this.others.get(from)
    if (!peer) return
    peer.unsaid += batch.bytes.length
    if (peer.unsaid < RECEIPT) return
    this.say({ say: 'got', bytes: peer.unsaid }, peer.channel)
    peer.unsaid = 0
  }

  // ---- the others ----

  private hear(message: Message) {
    const { from } = message
    if (from === this.id) return
    if (message.say === 'bye') return this.forget(from)
    const peer = this.meet(from)
    switch (message.say) {
      case 'hello':
        this.say({ say: 'here', leases: this.leases() }, peer.channel)
        break
      case 'here':
        for (const lease of message.leases) this.learn(lease)
        break
      case 'frames':
        this.receive(message.batch, from)
        break
      case 'got':
        peer.outstanding = Math.max(0, peer.outstanding - message.bytes)
        break
      case 'claim': {
        const { ip, mac } = message.lease
        const known = this.addresses?.at(ip)
        if (known && known.mac !== mac) this.say({ say: 'object', ip, mac }, peer.channel)
        else this.learn(message.lease)
        break
      }
      case 'object':
        this.pending.get(message.ip)?.(false)
        break
      case 'release':
        if (this.addresses?.at(message.ip)?.mac === message.mac) this.addresses.release(message.ip)
    }
  }

  private meet(id: string): Peer {
    let peer = this.others.get(id)
    if (!peer) this.others.set(id, (peer = { channel: this.channel(id), outstanding: 0, frames: [], unsaid: 0 }))
    return peer
  }
  private forget(id: string) {
    this.others.get(id)?.channel.close()
    this.others.delete(id)
    for (const [mac, station] of this.stations) if (station === id) this.stations.delete(mac)
  }

  // ---- addresses: every tab hands them out to its own, unless another objects ----

  private claim(lease: Lease): boolean | Promise<boolean> {
    this.say({ say: 'claim', lease: this.shared(lease) })
    if (this.others.size === 0) return true
    return new Promise(resolve => {
      const settle = (granted: boolean) => {
        clearTimeout(timer)
        if (this.pending.get(lease.ip) === settle) this.pending.delete(lease.ip)
        resolve(granted)
      }
      const timer = setTimeout(settle, OBJECTION, true)
      this.pending.set(lease.ip, settle)
    })
  }

  private shared({ ip, mac, name, until }: Lease): SharedLease {
    return { ip, mac, ...(name && { name }), seconds: (until - this.clock.now()) / 1000 }
  }
  private leases() {
    return [...(this.addresses ?? [])].map(lease => this.shared(lease))
  }
  private learn({ seconds, ...lease }: SharedLease) {
    if (!this.addresses?.at(lease.ip)) this.addresses?.set({ ...lease, until: this.clock.now() + seconds * 1000 })
  }
}
