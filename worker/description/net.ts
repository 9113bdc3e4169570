import * as v from 'valibot'
import { described, device } from './device.ts'

const whole = (least: number, most: number) =>
  v.pipe(
    v.number(),
    v.integer('must be a whole number'),
    v.minValue(least, `must be at least ${least}`),
    v.maxValue(most, `must be at most ${most}`),
  )

export const links = ['lan', 'relay', 'none'] as const

export const netSchema = device('net', 'An Ethernet card.', {
  link: v.optional(
    described(
      'What it is plugged into: a LAN between the tabs of this browser, a relay, or nothing. A LAN unless given.',
      v.picklist(links),
    ),
    'lan',
  ),
  segment: v.optional(
    described(
      'Which LAN: machines that say the same share it.',
      v.pipe(v.string(), v.regex(/^[\w.-]{1,64}$/, 'must be 1 to 64 letters, digits, ".", "_" or "-"')),
    ),
    'default',
  ),
  url: v.optional(
    described(
      'Address of the relay, its room and token in the query; the relay of this computer unless given.',
      v.pipe(v.string(), v.regex(/^wss?:\/\//, 'must begin with ws:// or wss://')),
    ),
  ),
  mac: v.optional(
    described(
      'Its address, as in 52:54:00:12:34:56; made up at every start unless given.',
      v.pipe(
        v.string(),
        v.regex(/^[\da-f][02468ace](:[\da-f]{2}){5}$/i, 'must be six pairs of hexadecimal digits, the first one even'),
      ),
    ),
  ),
  mtu: v.optional(described('Longest packet, in bytes.', whole(68, 65535)), 1500),
  pairs: v.optional(described('Pairs of queues offered.', whole(1, 64)), 1),
})
