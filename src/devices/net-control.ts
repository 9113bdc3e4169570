import type { Chain } from '../virtio/chain.ts'
import { be48, le16, le32, le64, struct, u8 } from '../virtio/layout.ts'
import { GuestError } from '../virtio/machine.ts'

/** §5.1.6.5: a command, before its data; the last byte of the chain is our answer. */
export const Control = struct('virtio_net_ctrl', '5.1.6.5', {
  class: u8('', { RX: 0, MAC: 1, VLAN: 2, ANNOUNCE: 3, MQ: 4, GUEST_OFFLOADS: 5, NOTF_COAL: 6 }),
  command: u8('by class'),
})
export const Ack = struct('virtio_net_ctrl ack', '5.1.6.5', { ack: u8('', { OK: 0, ERR: 1 }) })
export const Switch = struct('virtio_net_ctrl_rx', '5.1.6.5.1', { on: u8('1 to turn the mode on') })
export const MacTable = struct('virtio_net_ctrl_mac', '5.1.6.5.2', { entries: le32('addresses that follow') })
export const MacAddress = struct('MAC address', '5.1.6.5.2', { mac: be48() })
export const Vlan = struct('virtio_net_ctrl_vlan', '5.1.6.5.3', { id: le16('VLAN identifier') })
export const Pairs = struct('virtio_net_ctrl_mq', '5.1.6.5.6', { virtqueue_pairs: le16('pairs to be used') })
export const GuestOffloads = struct('virtio_net_ctrl_guest_offloads', '5.1.6.5.8', {
  offloads: le64('the bits of the GUEST_* features wanted from now on'),
})
export const Coalescing = struct('virtio_net_ctrl_coal', '5.1.6.5.9', {
  max_packets: le32('tell of so many packets at the latest'),
  max_usecs: le32('or after so many microseconds'),
})

/** The commands of each class. */
export const Command = {
  RX: { PROMISC: 0, ALLMULTI: 1, ALLUNI: 2, NOMULTI: 3, NOUNI: 4, NOBCAST: 5 },
  MAC: { TABLE_SET: 0, ADDR_SET: 1 },
  VLAN: { ADD: 0, DEL: 1 },
  ANNOUNCE: { ACK: 0 },
  MQ: { VQ_PAIRS_SET: 0 },
  GUEST_OFFLOADS: { SET: 0 },
  NOTF_COAL: { TX_SET: 0, RX_SET: 1 },
} as const

/** Longest command taken, in bytes: a table of 10,000 addresses. */
const LONGEST = 65536

/** Answers one command; `obey` says whether it was carried out. It gets what follows the header. */
export function answer(chain: Chain, obey: (kind: number, command: number, data: Uint8Array<ArrayBuffer>) => boolean) {
  const { reader, writer } = chain
  if (writer.length < Ack.size) throw new GuestError('5.1.6.5', 'a command leaves no room for its answer')
  let ok = false
  if (reader.length >= Control.size && reader.length <= LONGEST) {
    const { class: kind, command } = reader.struct(Control)
    ok = obey(kind, command, reader.bytes())
  }
  writer.struct(Ack, { ack: ok ? 0 : 1 })
  chain.complete()
}

/** Both tables of TABLE_SET; nothing where their lengths and the data do not agree. */
export function readTables(data: Uint8Array<ArrayBuffer>): readonly [number[], number[]] | undefined {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  const tables: number[][] = []
  let at = 0
  while (tables.length < 2) {
    if (at + MacTable.size > data.length) return
    const { entries } = new MacTable(view, at)
    at += MacTable.size
    if (entries * MacAddress.size > data.length - at) return
    const table = Array.from({ length: entries }, (_, i) => new MacAddress(view, at + i * MacAddress.size).mac)
    at += entries * MacAddress.size
    tables.push(table)
  }
  return at === data.length ? [tables[0]!, tables[1]!] : undefined
}
