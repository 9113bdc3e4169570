/** As much of DNS as answering one question over UDP takes. */

import { be16, be32, struct } from '../virtio/layout.ts'
import { viewOf } from './ethernet.ts'

export const DnsHeader = struct('DNS header', 'RFC 1035 §4.1.1', {
  id: be16('chosen by who asks'),
  flags: be16('of the message', {
    RESPONSE: 0x8000,
    OPCODE: 0x7800,
    AUTHORITATIVE: 0x0400,
    TRUNCATED: 0x0200,
    RECURSION_DESIRED: 0x0100,
    RECURSION_AVAILABLE: 0x0080,
  }),
  questions: be16(),
  answers: be16(),
  authorities: be16(),
  additional: be16(),
})
const FLAG = DnsHeader.fields.flags.bits

const DnsRecord = struct('DNS resource record', 'RFC 1035 §4.1.3', {
  name: be16('a pointer to the name of the question'),
  type: be16(),
  class: be16(),
  ttl: be32('in seconds'),
  length: be16('of the data, in bytes'),
})
const POINTER_TO_QUESTION = 0xc000 | DnsHeader.size

export const DNS = { A: 1, PTR: 12, AAAA: 28, ANY: 255 } as const
/** Response codes, RFC 1035 §4.1.1. */
export const RCODE = { OK: 0, FORMAT: 1, SERVER: 2, NAME: 3, NOT_IMPLEMENTED: 4, REFUSED: 5 } as const

const IN = 1
/** What fits without EDNS, RFC 1035 §4.2.1. */
const LIMIT = 512

export interface DnsQuery {
  readonly id: number
  /** In lower case, labels joined with dots, without the last dot; `.` inside a label is refused. */
  readonly name: string
  readonly type: number
  readonly recursion: boolean
  /** The question as it was asked, for the answer to repeat (in its upper and lower case). */
  readonly question: Uint8Array
}

/** A standard query with one question of class IN, or nothing where it is malformed or anything else. */
export function readDns(message: Uint8Array): DnsQuery | undefined {
  if (message.length < DnsHeader.size) return undefined
  const header = new DnsHeader(viewOf(message))
  if (header.flags & (FLAG.RESPONSE | FLAG.OPCODE | FLAG.TRUNCATED) || header.questions !== 1) return undefined
  const labels: string[] = []
  let at: number = DnsHeader.size
  for (;;) {
    const length = message[at++]
    // Over 63 is a pointer, and there is nothing before the first name to point to.
    if (length === undefined || length > 63 || at + length > message.length) return undefined
    if (length === 0) break
    const label = String.fromCharCode(...message.subarray(at, at + length))
    if (!/^[\x21-\x2d\x2f-\x7e]+$/.test(label)) return undefined
    labels.push(label.toLowerCase())
    at += length
    if (at - DnsHeader.size > 254) return undefined
  }
  if (at + 4 > message.length) return undefined
  const view = viewOf(message)
  if (view.getUint16(at + 2) !== IN) return undefined
  const question = message.subarray(DnsHeader.size, at + 4)
  const recursion = (header.flags & FLAG.RECURSION_DESIRED) !== 0
  return { id: header.id, name: labels.join('.'), type: view.getUint16(at), recursion, question }
}

export interface DnsAnswer {
  /** One of `RCODE`. */
  readonly rcode: number
  /** Ours to know, rather than asked of somebody else. */
  readonly authoritative?: boolean
  readonly records?: readonly { readonly type: number; readonly ttl: number; readonly data: Uint8Array }[]
}

/** As many records as fit 512 bytes; a resolver that misses the rest asks again by other means. */
export function writeDns(query: DnsQuery, { rcode, authoritative, records = [] }: DnsAnswer) {
  const parts: Uint8Array[] = []
  let size = DnsHeader.size + query.question.length
  for (const { type, ttl, data } of records) {
    if (size + DnsRecord.size + data.length > LIMIT) break
    parts.push(DnsRecord.bytes({ name: POINTER_TO_QUESTION, type, class: IN, ttl, length: data.length }), data)
    size += DnsRecord.size + data.length
  }
  const flags =
    FLAG.RESPONSE |
    FLAG.RECURSION_AVAILABLE |
    (query.recursion ? FLAG.RECURSION_DESIRED : 0) |
    (authoritative ? FLAG.AUTHORITATIVE : 0) |
    rcode
  const message = new Uint8Array(size)
  message.set(DnsHeader.bytes({ id: query.id, flags, questions: 1, answers: parts.length / 2 }))
  message.set(query.question, DnsHeader.size)
  let at = DnsHeader.size + query.question.length
  for (const part of parts) {
    message.set(part, at)
    at += part.length
  }
  return message
}

/** A name as labels with their lengths, for the data of a PTR record. Labels are at most 63 ASCII characters. */
export function encodeName(name: string) {
  const bytes = name.split('.').flatMap(label => [label.length, ...Array.from(label, c => c.charCodeAt(0))])
  return Uint8Array.from([...bytes, 0])
}

/** The address that `15.2.0.10.in-addr.arpa` asks about. */
export function reverseName(name: string): string | undefined {
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa$/.exec(name)
  return match?.slice(1).reverse().join('.')
}
