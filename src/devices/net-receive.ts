import type { Offload } from '../net/checksum.ts'
import { Coalescer, type Packet } from '../net/coalesce.ts'
import { ETHERNET_HEADER } from '../net/ethernet.ts'
import { finished, ipIn, TcpHeader } from '../net/tcp.ts'
import type { Chain } from '../virtio/chain.ts'
import { GuestError } from '../virtio/machine.ts'
import type { Virtqueue } from '../virtio/queue.ts'
import { type Offloads, writeHeader } from './net-header.ts'

/** What a device may hold for a guest that has no buffers, for each receive queue. */
export interface Backlog {
  readonly packets: number
  /** In bytes. */
  readonly bytes: number
}

/** What was settled with the driver. */
export interface ReceiveSettings {
  /** In bytes: 10 or 12. */
  readonly header: number
  /** A packet may be spread over several buffers. */
  readonly merge: boolean
  /** Longest packet the driver agreed to, without its Ethernet header; absent if it did not. */
  readonly mtu: number | undefined
  readonly backlog: Backlog
}

/** What became of frames; each is a number of frames. */
export interface ReceiveCounters {
  /** Packets the guest got, which may be several frames joined, and their bytes. */
  rxPackets: number
  rxBytes: number
  /** No buffers, and the backlog full. */
  rxDropped: number
  /** Longer than the buffers the driver gives, or than it agreed to. */
  rxTooLong: number
  /** With an offload that makes no sense. */
  rxMalformed: number
}

const VLAN_TAG = 4
const DATA_OFFSET = TcpHeader.offset.dataOffset

/** One receive queue: frames wait in it until the driver has buffers for them. */
export class ReceiveQueue {
  private waiting: Coalescer
  /** Taken from the queue, and not used yet. */
  private buffers: Chain[] = []
  private room = 0
  private scratch: Uint8Array<ArrayBuffer>

  constructor(
    readonly queue: Virtqueue,
    private readonly settings: ReceiveSettings,
    private may: Offloads,
    private readonly counters: ReceiveCounters,
  ) {
    this.waiting = new Coalescer(receiver(may))
    this.scratch = new Uint8Array(settings.header)
  }

  /** The driver wants other things done for it from now on. */
  setOffloads(may: Offloads) {
    const { waiting } = this
    this.may = may
    this.waiting = new Coalescer(receiver(may))
    for (let packet = waiting.shift(); packet; packet = waiting.shift()) {
      const { parts, length, offload } = packet
      this.put(parts.length === 1 ? parts[0]! : joined(parts, length), offload)
    }
  }

  /** Frames held. */
  get held() {
    return this.waiting.size
  }

  /** Holds a frame. `deliver` brings it to the guest. */
  add(frame: Uint8Array, offload: Offload | undefined) {
    const { backlog } = this.settings
    if (this.waiting.size >= backlog.packets || this.waiting.bytes + frame.length > backlog.bytes) {
      this.counters.rxDropped++
    } else this.put(frame, offload)
  }

  private put(frame: Uint8Array, offload: Offload | undefined) {
    if (offload && !this.takes(frame, offload)) {
      const frames = finished(frame, offload)
      if (!frames) this.counters.rxMalformed++
      for (const whole of frames ?? []) this.admit(whole, undefined)
    } else this.admit(frame, offload)
  }

  private admit(frame: Uint8Array, offload: Offload | undefined) {
    const { mtu } = this.settings
    if (mtu !== undefined && !offload?.segment && frame.length > mtu + ETHERNET_HEADER + VLAN_TAG) {
      this.counters.rxTooLong++
    } else this.waiting.add(frame, offload)
  }

  private takes(frame: Uint8Array, { segment, ecn }: Offload) {
    const { checksum, tcp4, tcp6, ecn: ecnToo } = this.may
    if (!segment) return checksum
    return (ipIn(frame)?.version === 6 ? tcp6 : tcp4) && (!ecn || ecnToo)
  }

  /** Fills what buffers there are; answers for how many packets. Called while the queue is processed. */
  deliver(): number {
    let delivered = 0
    for (let next = this.waiting.peek(); next; next = this.waiting.peek()) {
      const fit = this.gather(next.length + this.settings.header)
      if (fit === 'not yet') break
      const packet = this.waiting.shift()!
      if (fit === 'never') this.counters.rxTooLong++
      else {
        this.fill(packet)
        delivered++
      }
    }
    return delivered
  }

  /** Takes buffers for so many bytes. */
  private gather(bytes: number): 'enough' | 'not yet' | 'never' {
    const { queue, settings, buffers } = this
    for (;;) {
      if (buffers.length > 0 && this.room >= bytes) return 'enough'
      if (buffers.length > 0 && !settings.merge) return 'never'
      const chain = queue.pop()
      if (!chain) {
        // Where the ring has no place for another like the last, the driver can only wait for us.
        const slots = buffers.reduce((sum, buffer) => sum + buffer.slots, 0)
        return slots + (buffers.at(-1)?.slots ?? 1) > queue.size ? 'never' : 'not yet'
      }
      if (chain.reader.length > 0) throw new GuestError('5.1.6.3', 'a receive buffer that is not for writing')
      if (chain.writer.length < settings.header)
        throw new GuestError('5.1.6.3.1', `a receive buffer of ${chain.writer.length} bytes has no room for the header`)
      buffers.push(chain)
      this.room += chain.writer.length
    }
  }

  private fill({ parts, length, offload, verified }: Packet) {
    const { header } = this.settings
    let left = length + header
    let count = 0
    while (left > 0) left -= this.buffers[count++]!.writer.length
    const used = this.buffers.splice(0, count)
    const ipv6 = offload?.segment !== undefined && ipIn(parts[0]!)?.version === 6
    const headers = offload?.segment ? offload.start + (parts[0]![offload.start + DATA_OFFSET]! >> 4) * 4 : 0
    writeHeader(this.scratch, { offload, ipv6, verified, headers, buffers: count }, this.may)
    let index = 0
    for (const part of [this.scratch, ...parts]) {
      for (let at = 0; at < part.length; ) {
        const { writer } = used[index]!
        const take = Math.min(writer.left, part.length - at)
        writer.bytes(at === 0 && take === part.length ? part : part.subarray(at, at + take))
        at += take
        if (writer.left === 0) index++
      }
    }
    for (const chain of used) {
      this.room -= chain.writer.length
      chain.complete()
    }
    this.counters.rxPackets++
    this.counters.rxBytes += length
  }
}

const receiver = ({ checksum, tcp4, tcp6 }: Offloads) => ({ checksums: checksum, tcp4, tcp6 })

function joined(parts: readonly Uint8Array[], length: number) {
  const whole = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
