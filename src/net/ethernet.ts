/** Ethernet II frames without the FCS. A MAC address is a plain 48-bit number everywhere: compared with `===`, used as a key. */

import { be16, be48, struct } from '../virtio/layout.ts'

export const EthernetHeader = struct('Ethernet header', 'IEEE 802.3 §3.1.1', {
  destination: be48('MAC address of the receiver'),
  source: be48('MAC address of the sender'),
  type: be16('what the payload is', { IPV4: 0x0800, ARP: 0x0806, VLAN: 0x8100, IPV6: 0x86dd }),
})
export const ETHERTYPE = EthernetHeader.fields.type.bits

/** In bytes. */
export const ETHERNET_HEADER = EthernetHeader.size
export const BROADCAST_MAC = 2 ** 48 - 1

export const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** The header of a frame, or nothing where the frame is too short to have one. */
export const readEthernet = (frame: Uint8Array) =>
  frame.length < ETHERNET_HEADER ? undefined : new EthernetHeader(viewOf(frame))

/** A fresh frame. */
export function writeEthernet(destination: number, source: number, type: number, payload: Uint8Array) {
  const frame = new Uint8Array(ETHERNET_HEADER + payload.length)
  Object.assign(new EthernetHeader(viewOf(frame)), { destination, source, type })
  frame.set(payload, ETHERNET_HEADER)
  return frame
}

/** Broadcast or multicast: the lowest bit of the first byte. */
export const isGroupMac = (mac: number) => (Math.floor(mac / 2 ** 40) & 1) === 1

/** `52:54:00:12:34:56` */
export const formatMac = (mac: number) =>
  mac
    .toString(16)
    .padStart(12, '0')
    .replace(/..(?!$)/g, '$&:')

/** Accepts six hex pairs with `:` or `-` between them; nothing for anything else. */
export function parseMac(text: string): number | undefined {
  if (!/^[\da-f]{2}([:-])[\da-f]{2}(\1[\da-f]{2}){4}$/i.test(text)) return undefined
  return Number.parseInt(text.replace(/[:-]/g, ''), 16)
}
