/** Every option of the relay: in a configuration file by its name, on the command line as a flag. */

import { isIP } from 'node:net'
import * as v from 'valibot'
import { parseIp, prefixMask } from '../src/net/ipv4.ts'
import { RELAY_PORT } from '../src/net/relay-address.ts'

/** `127.0.0.1:7654`, `[::1]:7654`, `relay.example:443` */
export interface Endpoint {
  readonly host: string
  readonly port: number
}

export function parseEndpoint(text: string): Endpoint | undefined {
  const match = /^(?:\[([\da-f:.]+)\]|([\w.-]+)):(\d{1,5})$/i.exec(text)
  const port = Number(match?.[3])
  return match && port < 65536 ? { host: (match[1] ?? match[2])!, port } : undefined
}

/** `10.0.2.0/24` as numbers. */
export function parseNetwork(text: string) {
  const [address = '', bits = ''] = text.split('/')
  const network = parseIp(address)
  const prefix = /^\d{1,2}$/.test(bits) ? Number(bits) : Number.NaN
  if (network === undefined || !(prefix <= 32) || (network & prefixMask(prefix)) >>> 0 !== network) return undefined
  return { network, prefix }
}

const count = (least: number, most: number) =>
  v.pipe(
    v.union([v.number(), v.pipe(v.string(), v.regex(/^\d+$/, 'a whole number is needed'), v.transform(Number))]),
    v.integer('a whole number is needed'),
    v.minValue(least, `at least ${least} is needed`),
    v.maxValue(most, `at most ${most} is possible`),
  )
const text = v.pipe(v.string('a text is needed'), v.nonEmpty('a text is needed'))
const list = <S extends v.GenericSchema<string, string>>(item: S) =>
  v.pipe(
    v.union([v.array(v.string()), v.string()], 'a list of texts is needed'),
    v.transform(value => (typeof value === 'string' ? value.split(',') : value).map(part => part.trim())),
    v.array(item),
  )
const origin = v.pipe(
  text,
  v.check(
    value => URL.canParse(value) && new URL(value).origin === value,
    'an origin is needed, such as https://app.example',
  ),
)
const network = v.pipe(
  text,
  v.check(value => {
    const { prefix = 0 } = parseNetwork(value) ?? {}
    return prefix >= 16 && prefix <= 29
  }, 'an IPv4 network of 16 to 29 bits is needed, such as 10.0.2.0/24'),
)
const endpoint = v.pipe(
  text,
  v.check(value => parseEndpoint(value) !== undefined, 'HOST:PORT is needed'),
)

const nameServer = v.pipe(
  text,
  v.check(
    value => isIP(value) !== 0 || isIP(parseEndpoint(value)?.host ?? '') !== 0,
    'an IP address is needed, with or without a port',
  ),
)

const MiB = 2 ** 20

/** One row an option: its schema with the default, what its flag takes, and what it does. */
export const OPTIONS = {
  listen: [v.optional(endpoint, `127.0.0.1:${RELAY_PORT}`), '<host:port>', 'Where to listen; port 0 takes a free one'],
  origins: [
    v.optional(list(origin), []),
    '<list>',
    'Origins of pages that may connect, comma-separated (default: pages from this machine)',
  ],
  originless: [
    v.optional(v.boolean()),
    '',
    'Admit programs that send no Origin (default: if listening on a loopback address or with tokens)',
  ],
  rooms: [
    v.optional(v.picklist(['private', 'open'], 'private or open is needed'), 'private'),
    '<kind>',
    'private: a room for each client; open: pages choose one by ?room=NAME. A token’s room comes first',
  ],
  tokenKey: [v.optional(text), '<file>', 'Admit only clients with a token signed by this key (see the key command)'],
  tokenAge: [v.optional(count(1, 30 * 86_400), 3600), '<seconds>', 'Tokens older than this are refused'],
  maxClients: [v.optional(count(1, 1e6), 2000), '<n>', 'Clients at once'],
  maxPerAddress: [v.optional(count(1, 1e6), 64), '<n>', 'Connections at once from one address'],
  trustProxy: [
    v.optional(v.boolean(), false),
    '',
    'The last X-Forwarded-For is the client’s address (a proxy is in front)',
  ],
  bytesPerSecond: [v.optional(count(1000, 1e12), 256 * MiB), '<n>', 'What one client may send; more is dropped'],
  framesPerSecond: [v.optional(count(10, 1e9), 250_000), '<n>', 'Likewise, frames'],
  broadcastsPerSecond: [v.optional(count(1, 1e9), 200), '<n>', 'Likewise, frames to everybody or to a group'],
  queueBytes: [v.optional(count(65_536, 1e9), 4 * MiB), '<n>', 'Held for a client that reads slowly; more is dropped'],
  idleSeconds: [v.optional(count(1, 86_400), 60), '<n>', 'A client that answers no ping for this long is disconnected'],
  network: [v.optional(network, '10.0.2.0/24'), '<cidr>', 'Addresses of a room; the first one is the gateway'],
  mtu: [v.optional(count(576, 9000), 1500), '<bytes>', 'Largest IP packet in a room'],
  leaseSeconds: [v.optional(count(10, 604_800), 3600), '<n>', 'How long an address is leased'],
  egress: [
    v.optional(v.boolean(), false),
    '',
    'Let clients out to the internet through passt (Linux, root; see docs/relay.md)',
  ],
  allow: [
    v.optional(list(text), []),
    '<list>',
    'With --egress: an IPv4 network opens that private range; host names allow these names and nothing else',
  ],
  dns: [
    v.optional(list(nameServer), []),
    '<list>',
    'With --egress: DNS servers to ask (default: those of this machine)',
  ],
  nats: [
    v.optional(text),
    '<url>',
    'Join relays that share a NATS server with JetStream, such as nats://10.0.0.5:4222',
  ],
  natsPrefix: [
    v.optional(v.pipe(text, v.regex(/^[\w-]+$/, 'letters, digits, - and _ are needed')), 'l2'),
    '<word>',
    'First word of the subjects',
  ],
  drainSeconds: [v.optional(count(0, 600), 5), '<n>', 'On SIGTERM, clients are sent away evenly over this time'],
  logLevel: [
    v.optional(v.picklist(['fatal', 'error', 'warn', 'info', 'debug', 'silent']), 'info'),
    '<level>',
    'fatal, error, warn, info, debug or silent',
  ],
} as const satisfies Record<string, readonly [v.GenericSchema, string, string]>

type Schemas = { -readonly [K in keyof typeof OPTIONS]: (typeof OPTIONS)[K][0] }
const schema = v.strictObject(
  Object.fromEntries(Object.entries(OPTIONS).map(([name, [option]]) => [name, option])) as Schemas,
)

export type Options = v.InferOutput<typeof schema>

/** `maxPerAddress` → `max-per-address` */
export const flagOf = (name: string) => name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)

/** What was given is wrong; the message says what, where and what would be right. */
export class OptionError extends Error {
  override name = 'OptionError'
}

/** Checks and completes options; `where` they came from is said in errors. */
export function checkOptions(given: unknown, where = 'options'): Options {
  const result = v.safeParse(schema, given)
  if (!result.success) {
    const lines = result.issues.map(issue => {
      const name = String(issue.path?.[0]?.key ?? '')
      if (name && !(name in OPTIONS)) return `there is no option ${JSON.stringify(name)}`
      return name ? `${name}: ${issue.message}` : issue.message
    })
    throw new OptionError(`${where}: ${lines.join('; ')}.`)
  }
  const options = result.output
  if (!options.egress && (options.allow.length || options.dns.length))
    throw new OptionError(`${where}: allow and dns say what is outside, so they need egress.`)
  return options
}

/** A configuration file is one JSON object; flags come before it. */
export function mergeOptions(
  file: string | undefined,
  flags: Readonly<Record<string, unknown>>,
  name = 'configuration',
) {
  let settings: unknown = {}
  try {
    if (file !== undefined) settings = JSON.parse(file)
  } catch (error) {
    throw new OptionError(`${name} is not JSON: ${(error as Error).message}`)
  }
  if (typeof settings !== 'object' || settings === null || Array.isArray(settings))
    throw new OptionError(`${name}: one JSON object with options by name is needed.`)
  // Checked by itself first, so that an error names the place it is in.
  if (file !== undefined) checkOptions(settings, name)
  return checkOptions({ ...settings, ...flags }, 'command line')
}
