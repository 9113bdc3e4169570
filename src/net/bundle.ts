/**
 * Several frames in one message of a relay: in a browser each message costs as much as dozens of frames. It looks like an
 * Ethernet frame to an address that no bridge passes on, so that whoever does not know of bundles takes it for one of no
 * interest. An empty one says that its sender takes bundles; to others none are sent.
 */

import { ETHERNET_HEADER, EthernetHeader, readEthernet, viewOf } from './ethernet.ts'

/** Reserved for the nearest bridge (IEEE 802.1Q §8.6.3). */
const NEAREST_BRIDGE = 0x0180c200000e
/** IEEE 802: for local experiments. */
const LOCAL_EXPERIMENT = 0x88b5
/** Big-endian, in front of each frame; 0, or the end of the message, ends the bundle. */
const LENGTH = 2
const LONGEST = 0xffff
/** The least an Ethernet frame may be, without its FCS. */
const SHORTEST_FRAME = 60

/** Most a bundle may be, in bytes. */
export const BUNDLE_LIMIT = 65_536

/** What a frame takes up in one, in bytes; it is too long for a bundle where that is more than `BUNDLE_ROOM`. */
export const bundled = (frame: Uint8Array) => LENGTH + frame.length
/** What the frames of a bundle may take up. */
export const BUNDLE_ROOM = BUNDLE_LIMIT - ETHERNET_HEADER

export function bundle(frames: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const length = frames.reduce((sum, frame) => sum + bundled(frame), ETHERNET_HEADER)
  const message = new Uint8Array(Math.max(length, SHORTEST_FRAME))
  const view = viewOf(message)
  Object.assign(new EthernetHeader(view), { destination: NEAREST_BRIDGE, type: LOCAL_EXPERIMENT })
  let at = ETHERNET_HEADER
  for (const frame of frames) {
    if (frame.length > LONGEST) throw new RangeError(`a frame of ${frame.length} bytes does not fit into a bundle`)
    view.setUint16(at, frame.length)
    message.set(frame, at + LENGTH)
    at += bundled(frame)
  }
  return message
}

/** The frames of a bundle, as views of it; nothing where the message is none. One cut short ends with its last whole frame. */
export function unbundle(message: Uint8Array): Uint8Array[] | undefined {
  const header = readEthernet(message)
  if (header?.destination !== NEAREST_BRIDGE || header.type !== LOCAL_EXPERIMENT) return
  const frames: Uint8Array[] = []
  for (let at = ETHERNET_HEADER; at + LENGTH <= message.length; ) {
    const length = (message[at]! << 8) | message[at + 1]!
    at += LENGTH
    if (length === 0 || at + length > message.length) break
    frames.push(message.subarray(at, (at += length)))
  }
  return frames
}

/** Gathers frames for somebody who takes bundles. The one that asks for it calls `flush` soon. */
export class Bundler {
  private frames: Uint8Array[] = []
  /** In bytes. */
  held = 0

  constructor(private readonly send: (message: Uint8Array) => void) {}

  /** Keeps a frame until the next flush; nobody may write to it any more. */
  add(frame: Uint8Array) {
    const length = bundled(frame)
    if (this.held + length > BUNDLE_ROOM) this.flush()
    if (length > BUNDLE_ROOM) return this.send(frame)
    this.frames.push(frame)
    this.held += length
  }

  flush() {
    const { frames } = this
    if (frames.length === 0) return
    this.frames = []
    this.held = 0
    this.send(frames.length === 1 ? frames[0]! : bundle(frames))
  }
}
