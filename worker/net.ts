/** The host side of network cards: what each is plugged into, its switch for the link, and captures of its frames. */

import { type NetCounters, NetDevice } from '../src/devices/net.ts'
import type { NetBackend } from '../src/devices/net-backend.ts'
import type { Offload } from '../src/net/checksum.ts'
import { formatMac, parseMac } from '../src/net/ethernet.ts'
import { capturedFrame, captureHeader } from '../src/net/pcapng.ts'
import { RELAY_URL } from '../src/net/relay-address.ts'
import { finished } from '../src/net/tcp.ts'
import { Lan } from './backends/lan.ts'
import { WebSocketLink } from './backends/websocket.ts'
import type { DeviceDescription } from './description.ts'
import type { Attachment, Surroundings } from './device-types.ts'

type NetDescription = Extract<DeviceDescription, { type: 'net' }>

/** How a card fares. */
export interface NicStatus {
  /** `52:54:00:12:34:56` */
  readonly mac: string
  readonly link: NetDescription['link']
  /** The segment, or the relay's address. */
  readonly to: string
  /** What the user wants, and what the guest sees. */
  readonly plugged: boolean
  readonly up: boolean
  /** Other tabs on the LAN, or how often the relay was connected to. */
  readonly peers: number
  readonly capturing: boolean
  /** Frames lost on the way out of this tab. */
  readonly lost: number
  /** Frames held for the guest. */
  readonly backlog: number
  readonly counters: NetCounters
}

interface Link {
  readonly backend: NetBackend
  readonly to: string
  status(): { readonly peers: number; readonly lost: number }
}

function openLink({ link, segment, url = RELAY_URL }: NetDescription): Link {
  if (link === 'relay') {
    const backend = new WebSocketLink({ url })
    return { backend, to: url, status: () => ({ peers: backend.connections, lost: backend.dropped }) }
  }
  if (link === 'lan') {
    const lan = Lan.named({ segment })
    return { backend: lan.attach(), to: segment, status: () => ({ peers: lan.peers, lost: lan.dropped }) }
  }
  const nothing: NetBackend = { offloads: true, connect: port => port.link(false), send() {} }
  return { backend: nothing, to: '', status: () => ({ peers: 0, lost: 0 }) }
}

/** Most a capture in memory holds, in bytes. */
const CAPTURE_LIMIT = 256 << 20

/** One card, through all resets of its machine. */
export class Nic {
  private readonly link: Link
  private readonly mac: number
  private device: NetDevice | undefined
  private plugged = true
  private capture: { readonly write: (bytes: Uint8Array<ArrayBuffer>) => void; left: number } | undefined

  constructor(
    private readonly description: NetDescription,
    private readonly soon: (work: () => void) => void,
    readonly name: string,
  ) {
    this.mac = parseMac(description.mac ?? '') ?? randomMac()
    this.link = openLink(description)
  }

  /** As it is at power-on. */
  makeDevice(): NetDevice {
    const { mtu, pairs, queueSize } = this.description
    const timer = {
      after(milliseconds: number, work: () => void) {
        const timeout = setTimeout(work, milliseconds)
        return () => clearTimeout(timeout)
      },
    }
    const { backend } = this.link
    const { mac, soon } = this
    this.device = new NetDevice({ backend, mac, mtu, pairs, queueSize: queueSize ?? 256, soon, timer })
    this.device.setLink(this.plugged)
    this.device.tap = this.capture && this.tap
    return this.device
  }

  /** Puts the plug in, or pulls it out: the guest sees its link go up or down. */
  setPlugged(plugged: boolean) {
    this.plugged = plugged
    this.device?.setLink(plugged)
  }

  /** Writes every frame from now on to `write`, in pcapng; what comes after 256 MiB is left out. */
  startCapture(write: (bytes: Uint8Array<ArrayBuffer>) => void) {
    this.capture = { write, left: CAPTURE_LIMIT }
    for (const block of captureHeader([this.name])) this.record(block)
    if (this.device) this.device.tap = this.tap
  }
  stopCapture() {
    this.capture = undefined
    if (this.device) this.device.tap = undefined
  }

  private readonly tap = (frame: Uint8Array, sent: boolean, offload?: Offload) => {
    const time = performance.timeOrigin + performance.now()
    for (const whole of finished(frame, offload) ?? [])
      this.record(capturedFrame(whole, time, sent ? 'outbound' : 'inbound'))
  }
  private record(block: Uint8Array<ArrayBuffer>) {
    const { capture } = this
    if (!capture || block.length > capture.left) return
    capture.left -= block.length
    capture.write(block)
  }

  get status(): NicStatus | undefined {
    const { device, link, plugged, description } = this
    if (!device) return undefined
    const { peers, lost } = link.status()
    return {
      mac: formatMac(device.mac),
      link: description.link,
      to: link.to,
      plugged,
      up: device.linkUp,
      peers,
      lost,
      capturing: this.capture !== undefined,
      backlog: device.backlog,
      counters: { ...device.counters },
    }
  }

  close() {
    this.link.backend.close?.()
  }
}

export function attachNet(description: NetDescription, surroundings: Surroundings): Attachment {
  const nic = new Nic(description, surroundings.soon, surroundings.name)
  surroundings.nic(nic)
  return { device: () => nic.makeDevice(), close: () => nic.close() }
}

/** Locally administered, of one station. */
function randomMac(): number {
  const bytes = crypto.getRandomValues(new Uint8Array(5))
  return bytes.reduce((mac, byte) => mac * 256 + byte, 0x02)
}
