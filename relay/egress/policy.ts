/** Where clients may go. Decided here for every packet, and again by nftables with the rules made from the same ranges. */

import { formatIp, prefixMask } from '../../src/net/ipv4.ts'
import { OptionError, parseNetwork } from '../options.ts'

export interface Range {
  readonly network: number
  readonly prefix: number
}

/** Never outside unless opened by name: IANA's special-purpose ranges, and addresses clouds keep their secrets at. */
export const DENIED = [
  ['0.0.0.0/8', 'this network'],
  ['10.0.0.0/8', 'private'],
  ['100.64.0.0/10', 'shared by a provider’s customers'],
  ['127.0.0.0/8', 'loopback'],
  ['169.254.0.0/16', 'link-local, and metadata of clouds'],
  ['172.16.0.0/12', 'private'],
  ['192.0.0.0/24', 'protocol assignments'],
  ['192.168.0.0/16', 'private'],
  ['198.18.0.0/15', 'benchmarks'],
  ['224.0.0.0/4', 'multicast'],
  ['240.0.0.0/4', 'reserved, and broadcast'],
  ['168.63.129.16/32', 'metadata of a cloud'],
] as const

/** Ports that are misused more than used: mail between servers. */
export const DENIED_PORTS = [25]

const NEVER = ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/4', '240.0.0.0/4']

const has = ({ network, prefix }: Range, ip: number) => (ip & prefixMask(prefix)) >>> 0 === network
const range = (text: string) => parseNetwork(text)!
const overlap = (a: Range, b: Range) => has(a, b.network) || has(b, a.network)
const HOST_NAME = /^(?=.{1,253}$)([a-z\d]([a-z\d-]{0,61}[a-z\d])?\.)+[a-z]([a-z\d-]{0,61}[a-z\d])?$/

/** How long an address a name had may be gone to, counted from when it was last resolved or used, in milliseconds. */
const NAME_LIFE = 3_600_000
/** Addresses of names remembered; the oldest are forgotten first. */
const NAME_CAPACITY = 10_000

export class EgressPolicy {
  /** Private ranges that were opened. */
  readonly opened: readonly Range[]
  /** If there are any, only these names and those below them are outside. */
  readonly names: readonly string[]
  readonly #addresses = new Map<number, number>()
  readonly #denied = DENIED.map(([text]) => range(text))

  constructor(
    allow: readonly string[],
    readonly now: () => number,
  ) {
    const networks = allow.filter(text => /^[\d.]+(\/|$)/.test(text) || text.includes(':'))
    this.opened = networks.map(text => {
      const opened = parseNetwork(text.includes('/') ? text : `${text}/32`)
      if (!opened)
        throw new OptionError(`allow: ${text} is no IPv4 network such as 10.1.0.0/16 (IPv6 does not go out).`)
      const never = NEVER.find(denied => overlap(range(denied), opened))
      if (never) throw new OptionError(`allow: ${text} overlaps ${never}, which can never be opened.`)
      return opened
    })
    this.names = allow.filter(text => !networks.includes(text)).map(name => name.toLowerCase().replace(/\.$/, ''))
    const odd = this.names.find(name => !HOST_NAME.test(name))
    if (odd !== undefined) throw new OptionError(`allow: ${odd} is neither an IPv4 network nor a host name.`)
  }

  /** Why no packet may go there; nothing where it may. */
  refuse(ip: number): string | undefined {
    const special = this.special(ip)
    if (special !== undefined || this.names.length === 0 || this.#isOpened(ip)) return special
    const until = this.#addresses.get(ip)
    if (until === undefined || until < this.now()) return 'not an address of an allowed name'
    this.#addresses.set(ip, this.now() + NAME_LIFE)
    return undefined
  }

  /** Why nobody may go to an address, whatever its name; nothing for most. */
  special(ip: number): string | undefined {
    if (this.#isOpened(ip)) return undefined
    const index = this.#denied.findIndex(denied => has(denied, ip))
    return index < 0 ? undefined : `in ${DENIED[index]![0]} (${DENIED[index]![1]})`
  }

  mayResolve(name: string) {
    return this.names.length === 0 || this.names.some(allowed => name === allowed || name.endsWith(`.${allowed}`))
  }

  /** An allowed name has this address: whether that was not known yet. */
  learn(ip: number): boolean {
    if (this.names.length === 0) return false
    const known = (this.#addresses.get(ip) ?? 0) > this.now()
    this.#addresses.delete(ip)
    if (this.#addresses.size >= NAME_CAPACITY) this.#addresses.delete(this.#addresses.keys().next().value!)
    this.#addresses.set(ip, this.now() + NAME_LIFE)
    return !known
  }

  #isOpened(ip: number) {
    return this.opened.some(opened => has(opened, ip))
  }
}

/** `10.0.0.0/8` */
export const formatRange = ({ network, prefix }: Range) => `${formatIp(network)}/${prefix}`
