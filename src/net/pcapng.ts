/** Captures as Wireshark reads them (the pcapng format, draft-ietf-opsawg-pcapng). All fields little-endian, all blocks padded to 4. */

import { le16, le32, struct } from '../virtio/layout.ts'

const Block = struct('pcapng block', '3.1', {
  type: le32('', { INTERFACE: 1, PACKET: 6, SECTION: 0x0a0d0d0a }),
  length: le32('of the whole block; it stands again at its end'),
})
const Section = struct('Section Header Block', '4.1', {
  magic: le32('tells the byte order'),
  major: le16(),
  minor: le16(),
  length_low: le32('all ones: not known'),
  length_high: le32(),
})
const Interface = struct('Interface Description Block', '4.2', {
  linktype: le16('', { ETHERNET: 1 }),
  reserved: le16(),
  snaplen: le32('0: no limit'),
})
const Packet = struct('Enhanced Packet Block', '4.3', {
  interface: le32('by its place among the interface blocks'),
  time_high: le32('in microseconds since 1970'),
  time_low: le32(),
  captured: le32('bytes that follow'),
  original: le32('bytes the frame had'),
})
const Option = struct('option', '3.5', { code: le16(), length: le16() })
const { INTERFACE, PACKET, SECTION } = Block.fields.type.bits

const IF_NAME = 2
const EPB_FLAGS = 2
/** Of EPB_FLAGS. */
const DIRECTION = { inbound: 1, outbound: 2 } as const

const pad = (length: number) => (length + 3) & ~3

function option(code: number, value: Uint8Array) {
  const bytes = new Uint8Array(Option.size + pad(value.length))
  bytes.set(Option.bytes({ code, length: value.length }))
  bytes.set(value, Option.size)
  return bytes
}
const END = new Uint8Array(Option.size)

function block(type: number, ...parts: readonly Uint8Array[]) {
  const body = parts.reduce((sum, part) => sum + pad(part.length), 0)
  const length = Block.size + body + 4
  const bytes = new Uint8Array(length)
  bytes.set(Block.bytes({ type, length }))
  let at: number = Block.size
  for (const part of parts) {
    bytes.set(part, at)
    at += pad(part.length)
  }
  new DataView(bytes.buffer).setUint32(at, length, true)
  return bytes
}

/** What a capture begins with: the interfaces it has, by name (ASCII). */
export function captureHeader(interfaces: readonly string[]): Uint8Array<ArrayBuffer>[] {
  const ones = 0xffffffff
  const section = { magic: 0x1a2b3c4d, major: 1, minor: 0, length_low: ones, length_high: ones }
  return [
    block(SECTION, Section.bytes(section)),
    ...interfaces.map(name =>
      block(
        INTERFACE,
        Interface.bytes({ linktype: Interface.fields.linktype.bits.ETHERNET }),
        option(
          IF_NAME,
          Uint8Array.from(name, char => char.charCodeAt(0)),
        ),
        END,
      ),
    ),
  ]
}

/** One frame; `time` in milliseconds since 1970. */
export function capturedFrame(
  frame: Uint8Array,
  time: number,
  direction: keyof typeof DIRECTION,
  index = 0,
): Uint8Array<ArrayBuffer> {
  const microseconds = Math.round(time * 1000)
  const header = Packet.bytes({
    interface: index,
    time_high: Math.floor(microseconds / 2 ** 32),
    time_low: microseconds % 2 ** 32,
    captured: frame.length,
    original: frame.length,
  })
  const flags = Uint8Array.of(DIRECTION[direction], 0, 0, 0)
  return block(PACKET, header, frame, option(EPB_FLAGS, flags), END)
}
