/** DHCP messages (RFC 2131) and the options of them that we read or send (RFC 2132). */

import { be16, be32, be48, bytes, struct, u8 } from '../virtio/layout.ts'
import { viewOf } from './ethernet.ts'

export const DhcpHeader = struct('DHCP message', 'RFC 2131 §2', {
  operation: u8('who speaks', { REQUEST: 1, REPLY: 2 }),
  hardware: u8('kind of hardware address', { ETHERNET: 1 }),
  hardwareSize: u8('of a hardware address, in bytes'),
  hops: u8('relay agents passed'),
  transaction: be32('chosen by the client, repeated by the server'),
  seconds: be16('since the client began'),
  flags: be16('how to answer', { BROADCAST: 0x8000 }),
  clientIp: be32('the address the client has and answers on'),
  yourIp: be32('the address the client is given'),
  serverIp: be32('the next server to boot from'),
  relayIp: be32('the relay agent to answer through'),
  clientMac: be48('who is to get an address'),
  padding: bytes(10, 'the rest of the room for a hardware address'),
  server: bytes(64, 'name of the server'),
  file: bytes(128, 'name of a boot file'),
  cookie: be32('says that options follow', { OPTIONS: 0x63825363 }),
})
const OPERATION = DhcpHeader.fields.operation.bits
const COOKIE = DhcpHeader.fields.cookie.bits.OPTIONS
export const BROADCAST_FLAG = DhcpHeader.fields.flags.bits.BROADCAST

/** Codes of options, RFC 2132. */
export const OPTION = {
  PAD: 0,
  SUBNET_MASK: 1,
  ROUTER: 3,
  DNS: 6,
  HOST_NAME: 12,
  DOMAIN_NAME: 15,
  MTU: 26,
  REQUESTED_IP: 50,
  LEASE_TIME: 51,
  MESSAGE_TYPE: 53,
  SERVER: 54,
  END: 255,
} as const

/** Values of the message type option, RFC 2132 §9.6. */
export const DHCP = { DISCOVER: 1, OFFER: 2, REQUEST: 3, DECLINE: 4, ACK: 5, NAK: 6, RELEASE: 7, INFORM: 8 } as const

export interface DhcpMessage {
  readonly header: InstanceType<typeof DhcpHeader>
  /** One of `DHCP`. */
  readonly type: number
  readonly requestedIp?: number
  readonly server?: number
  readonly hostName?: string
}

/** A client's message, or nothing where it is malformed, a server's, or not about Ethernet. */
export function readDhcp(message: Uint8Array): DhcpMessage | undefined {
  if (message.length < DhcpHeader.size) return undefined
  const header = new DhcpHeader(viewOf(message))
  if (header.operation !== OPERATION.REQUEST || header.cookie !== COOKIE) return undefined
  if (header.hardware !== 1 || header.hardwareSize !== 6) return undefined
  const options = readOptions(message.subarray(DhcpHeader.size))
  const type = options?.get(OPTION.MESSAGE_TYPE)
  if (!options || type?.length !== 1) return undefined
  const address = (code: number) => {
    const option = options.get(code)
    return option?.length === 4 ? viewOf(option).getUint32(0) : undefined
  }
  const name = options.get(OPTION.HOST_NAME)
  return {
    header,
    type: type[0]!,
    requestedIp: address(OPTION.REQUESTED_IP),
    server: address(OPTION.SERVER),
    hostName: name && String.fromCharCode(...name),
  }
}

function readOptions(bytes: Uint8Array): Map<number, Uint8Array> | undefined {
  const options = new Map<number, Uint8Array>()
  for (let at = 0; at < bytes.length; ) {
    const code = bytes[at++]!
    if (code === OPTION.PAD) continue
    if (code === OPTION.END) break
    const length = bytes[at++]
    if (length === undefined || at + length > bytes.length) return undefined
    options.set(code, bytes.subarray(at, at + length))
    at += length
  }
  return options
}

export interface DhcpReply {
  readonly type: number
  readonly yourIp?: number
  /** By code, in the order they are sent. */
  readonly options: readonly (readonly [code: number, value: Uint8Array])[]
}

/** What a server answers to `request`. */
export function writeDhcp({ header: request }: DhcpMessage, { type, yourIp = 0, options }: DhcpReply) {
  const list = [[OPTION.MESSAGE_TYPE, Uint8Array.of(type)] as const, ...options]
  const size = list.reduce((sum, [, value]) => sum + 2 + value.length, DhcpHeader.size + 1)
  // Some clients still want the 300 bytes of BOOTP.
  const message = new Uint8Array(Math.max(300, size))
  const { transaction, flags, clientMac, clientIp } = request
  const kind = { operation: OPERATION.REPLY, hardware: 1, hardwareSize: 6, cookie: COOKIE }
  message.set(DhcpHeader.bytes({ ...kind, transaction, flags, clientMac, clientIp, yourIp }))
  let at: number = DhcpHeader.size
  for (const [code, value] of list) {
    message[at] = code
    message[at + 1] = value.length
    message.set(value, at + 2)
    at += 2 + value.length
  }
  message[at] = OPTION.END
  return message
}
