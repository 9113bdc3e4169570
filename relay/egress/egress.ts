/** The way out of the rooms: who may go where, by which `passt`, and what names mean. */

import { Resolver } from 'node:dns/promises'
import type { Logger } from 'pino'
import { DNS, type DnsAnswer, RCODE } from '../../src/net/dns.ts'
import { ETHERNET_HEADER, ETHERTYPE, readEthernet, viewOf } from '../../src/net/ethernet.ts'
import { formatIp, Ipv4Header, parseIp } from '../../src/net/ipv4.ts'
import { ipBytes, type LanSettings } from '../../src/net/lan-services.ts'
import type { Outside, WayOut } from '../client.ts'
import { type Counts, countOne } from '../metrics.ts'
import { EgressNamespace } from './namespace.ts'
import { Passt, SOCKET_ROOM } from './passt.ts'
import type { EgressPolicy } from './policy.ts'
import { WindowLimit } from './window.ts'

/** Times in milliseconds. A passt that stops again soon after its start is started again later and later. */
const FIRST_PAUSE = 50
const LONGEST_PAUSE = 5000
const SETTLED = 2000
const LOG_EVERY = 10_000
/** Of answers, in seconds. */
const LONGEST_TTL = 3600

export interface NameServer {
  resolve4(name: string): Promise<readonly { readonly address: string; readonly ttl: number }[]>
}

/** Asks DNS servers, or those of this machine where none are given. */
export function nameServer(servers: readonly string[]): NameServer {
  const resolver = new Resolver({ timeout: 2000, tries: 2 })
  if (servers.length) resolver.setServers(servers)
  return { resolve4: name => resolver.resolve4(name, { ttl: true }) }
}

/** Looks names up for clients: only names they may ask for, and only addresses they may go to. */
export class OutsideNames {
  constructor(
    readonly policy: EgressPolicy,
    readonly server: NameServer,
    readonly counts: Counts,
    readonly log: Logger,
    /** Opens the namespace for an address of an allowed name. */
    readonly open: (address: string) => Promise<void>,
  ) {}

  async resolve(name: string, type: number): Promise<DnsAnswer> {
    if (!this.policy.mayResolve(name)) return this.#refuse(name, 'not an allowed name')
    // There is no IPv6 outside, so a name has no such address.
    if (type !== DNS.A) return { rcode: RCODE.OK }
    try {
      const answers = await this.server.resolve4(name)
      const records: { type: number; ttl: number; data: Uint8Array }[] = []
      for (const { address, ttl } of answers) {
        const ip = parseIp(address)
        if (ip === undefined) continue
        const why = this.policy.special(ip)
        if (why !== undefined) {
          this.#refuse(name, `it resolves to ${address}, ${why}`)
          continue
        }
        if (this.policy.learn(ip)) await this.open(address)
        records.push({ type, ttl: Math.min(ttl, LONGEST_TTL), data: ipBytes(ip) })
      }
      return records.length || !answers.length ? { rcode: RCODE.OK, records } : { rcode: RCODE.REFUSED }
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOTFOUND') return { rcode: RCODE.NAME }
      if (code === 'ENODATA') return { rcode: RCODE.OK }
      this.log.warn({ name, code }, 'a name could not be looked up')
      return { rcode: RCODE.SERVER }
    }
  }

  #refuse(name: string, why: string): DnsAnswer {
    countOne(this.counts.refused, 'name')
    this.log.warn({ reason: 'name', name, why }, 'name refused')
    return { rcode: RCODE.REFUSED }
  }
}

/** One client's way out. Its passt starts with the first packet that may leave. */
export class PasstWay implements WayOut {
  #passt: Passt | undefined
  readonly #windows = new WindowLimit(SOCKET_ROOM / 2)
  #startedAt = 0
  #notBefore = 0
  #pause = FIRST_PAUSE
  #closed = false
  #loggedAt = Number.NEGATIVE_INFINITY

  constructor(
    readonly namespace: string,
    readonly lan: LanSettings,
    readonly policy: EgressPolicy,
    readonly counts: Counts,
    readonly log: Logger,
    readonly deliver: (frame: Uint8Array) => void,
  ) {}

  get pid() {
    return this.#passt?.pid
  }

  send(frame: Uint8Array) {
    if (this.#closed) return
    const { source, destination } = new Ipv4Header(viewOf(frame), ETHERNET_HEADER)
    const why = this.policy.refuse(destination)
    if (why !== undefined) return this.#refuse(destination, why)
    this.#windows.apply(frame, performance.now())
    this.#passt ??= this.#start(source)
    if (!this.#passt?.send(frame)) countOne(this.counts.dropped, 'egress')
  }

  close() {
    this.#closed = true
    this.#passt?.close()
  }

  #start(guestIp: number) {
    const now = performance.now()
    if (now < this.#notBefore) return undefined
    this.#startedAt = now
    return new Passt(this.namespace, this.lan, guestIp, {
      frame: frame => {
        // Only packets: what passt says for itself about addresses is the services' to say.
        const header = readEthernet(frame)
        if (header?.type === ETHERTYPE.IPV4 && header.source === this.lan.mac) this.deliver(frame)
      },
      exit: why => {
        this.#passt = undefined
        const ended = performance.now()
        this.#pause = ended - this.#startedAt > SETTLED ? FIRST_PAUSE : Math.min(this.#pause * 2, LONGEST_PAUSE)
        this.#notBefore = ended + this.#pause
        countOne(this.counts.restarts, 'passt')
        this.log.error({ why, pause: this.#pause }, 'passt stopped; it is started again with the next packet')
      },
    })
  }

  #refuse(destination: number, why: string) {
    countOne(this.counts.refused, 'egress')
    const now = performance.now()
    if (now - this.#loggedAt < LOG_EVERY) return
    this.#loggedAt = now
    this.log.warn({ reason: 'egress', destination: formatIp(destination), why }, 'packet refused')
  }
}

export interface Egress extends Outside {
  readonly namespace: string
  close(): void
}

/** Fails with `EgressError` where clients cannot be let out safely. */
export function openEgress(
  policy: EgressPolicy,
  lan: LanSettings,
  server: NameServer,
  counts: Counts,
  log: Logger,
): Egress {
  const namespace = EgressNamespace.create(policy)
  const names = new OutsideNames(policy, server, counts, log, address => namespace.allow(address))
  return {
    namespace: namespace.name,
    open: (client, deliver) => new PasstWay(namespace.name, lan, policy, counts, log.child({ client }), deliver),
    resolve: (name, type) => names.resolve(name, type),
    close: () => namespace.remove(),
  }
}
