/**
 * Rooms that span relays: frames by NATS core, which loses what nobody takes, as Ethernet does. A relay subscribes to the
 * MAC addresses it has, so NATS' own interest is the forwarding table; what has all its receivers here never gets there.
 */

import { randomBytes } from 'node:crypto'
import { type ConnectionOptions, connect, type NatsConnection, type Subscription } from '@nats-io/transport-node'
import type { Logger } from 'pino'
import type { Lease } from '../../src/net/address-table.ts'
import { ETHERNET_HEADER, isGroupMac, readEthernet } from '../../src/net/ethernet.ts'
import { type Counts, countOne } from '../metrics.ts'
import type { Room, Uplink } from '../room.ts'
import type { Federation } from '../server.ts'
import { CLAIM_LIFE, type Claim, Leases, nodeSubject, RENEW_EVERY, readClaim, readKey } from './leases.ts'

/** NATS cannot be used as it is; the message says what is needed. */
export class FederationError extends Error {
  override name = 'FederationError'
}

export interface NatsOptions {
  /** One URL or several, comma-separated; user and password may be in it. */
  readonly url: string
  readonly prefix: string
  readonly mtu: number
}

/** How long a start waits for NATS before it goes on alone, in milliseconds. */
const FIRST_PATIENCE = 3000
/** Bytes on their way to NATS at most; what is more is dropped. */
const IN_FLIGHT = 8 * 2 ** 20
/** A receipt is asked for every so many bytes. */
const RECEIPT_EVERY = 2 ** 18

const macWord = (mac: number) => mac.toString(16).padStart(12, '0')
const ipWord = (ip: number) => ip.toString(16).padStart(8, '0')

export interface NatsFederation extends Federation {
  close(): Promise<void>
}

/** Joins, or keeps trying to; fails with `FederationError` if the server is there and cannot do what is needed. */
export async function joinNats(options: NatsOptions, counts: Counts, log: Logger): Promise<NatsFederation> {
  const federation = new Nats(options, counts, log)
  await federation.start()
  return federation
}

function connectionOptions(url: string): ConnectionOptions {
  const urls = url.split(',').map(part => {
    if (!URL.canParse(part)) throw new FederationError(`--nats: ${part} is no URL such as nats://127.0.0.1:4222.`)
    return new URL(part)
  })
  const { username, password, protocol } = urls[0]!
  return {
    servers: urls.map(({ host }) => host),
    ...(password ? { user: username, pass: password } : username ? { token: username } : {}),
    ...(protocol === 'tls:' ? { tls: {} } : {}),
    name: 'ringlet-relay',
    noEcho: true,
    waitOnFirstConnect: true,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
    pingInterval: 2000,
    maxPingOut: 2,
  }
}

class Nats implements NatsFederation {
  connected = false
  readonly node = randomBytes(6).toString('hex')
  readonly #rooms = new Set<NatsRoom>()
  #connection: NatsConnection | undefined
  #leases: Leases | undefined
  #timer: NodeJS.Timeout | undefined
  #sent = 0
  #received = 0
  #asked = 0
  #epoch = 0
  #closed = false

  constructor(
    readonly options: NatsOptions,
    readonly counts: Counts,
    readonly log: Logger,
  ) {}

  get leases() {
    return this.#leases
  }

  async start() {
    const connecting = connect(connectionOptions(this.options.url)).then(connection => this.#begin(connection))
    const patience = new Promise<'late'>(resolve => setTimeout(resolve, FIRST_PATIENCE, 'late').unref())
    if ((await Promise.race([connecting, patience])) !== 'late') return
    this.log.warn('NATS cannot be reached: rooms are local until it can')
    connecting.catch(error => this.log.fatal({ err: error }, 'NATS cannot be used: rooms stay local'))
  }

  connect(room: Room): Uplink {
    const uplink = new NatsRoom(this, room)
    this.#rooms.add(uplink)
    if (this.#connection) uplink.subscribe(this.#connection)
    if (this.connected) this.#watch([uplink])
    return uplink
  }

  leave(room: NatsRoom) {
    this.#rooms.delete(room)
  }

  /** Drops, and counts, what NATS does not take fast enough or at all. */
  publish(subject: string, frame: Uint8Array) {
    const connection = this.#connection
    if (!this.connected || !connection || this.#sent - this.#received + frame.length > IN_FLIGHT) {
      countOne(this.counts.dropped, 'nats')
      return
    }
    connection.publish(subject, frame)
    this.#sent += frame.length
    if (this.#sent - this.#asked < RECEIPT_EVERY) return
    this.#asked = this.#sent
    const [upTo, epoch] = [this.#sent, this.#epoch]
    const receipt = () => {
      if (epoch === this.#epoch) this.#received = upTo
    }
    connection.flush().then(receipt, receipt)
  }

  subscription(subject: string, take: (data: Uint8Array) => void) {
    return this.#connection?.subscribe(subject, { callback: (error, message) => void (error || take(message.data)) })
  }

  async close() {
    this.#closed = true
    clearInterval(this.#timer)
    await this.#connection?.close()
  }

  async #begin(connection: NatsConnection) {
    if (this.#closed) return connection.close()
    this.#connection = connection
    const { prefix } = this.options
    this.#leases = new Leases(connection, prefix, this.node, this.log)
    connection.subscribe(nodeSubject(prefix, this.node), {
      callback: (error, message) => void (error || message.respond()),
    })
    for (const room of this.#rooms) room.subscribe(connection)
    this.#follow(connection).catch(error => this.log.error({ err: error }, 'the state of NATS is not known any more'))
    try {
      await this.#online()
    } catch (error) {
      await connection.close()
      throw new FederationError(
        `--nats needs a NATS server with JetStream, for addresses (nats-server --jetstream): ${(error as Error).message}`,
      )
    }
    this.#timer = setInterval(() => {
      this.#leases
        ?.renew(held => this.#wanted(held.key))
        .catch(error => this.log.error({ err: error }, 'claims were not renewed'))
    }, RENEW_EVERY)
    this.#timer.unref()
  }

  async #online() {
    this.#epoch++
    this.#sent = this.#received = this.#asked = 0
    await this.#leases!.open()
    this.connected = true
    this.#watch(this.#rooms)
    this.log.info({ node: this.node, server: this.#connection!.getServer() }, 'joined other relays by NATS')
  }

  async #follow(connection: NatsConnection) {
    for await (const { type } of connection.status()) {
      if (type === 'disconnect' && this.connected) {
        this.connected = false
        this.#leases!.close()
        this.log.warn('NATS is lost: rooms are local until it is back')
      }
      if (type === 'reconnect') {
        countOne(this.counts.restarts, 'nats')
        // JetStream of a server that has just started needs a moment.
        for (let wait = 100; !this.#closed && !this.connected; wait = Math.min(2000, wait * 2))
          try {
            await this.#online()
          } catch (error) {
            this.log.warn({ err: error }, 'NATS is back, but not JetStream yet')
            await new Promise(resolve => setTimeout(resolve, wait))
          }
      }
    }
  }

  #wanted(key: string) {
    for (const room of this.#rooms) if (room.owns(key)) return room.wants(key)
    return false
  }

  #watch(rooms: Iterable<NatsRoom>) {
    const store = this.#leases?.store
    if (!store) return
    for (const room of rooms)
      room.watch(store).catch(error => this.log.warn({ err: error }, 'addresses of other relays are not followed'))
  }
}

class NatsRoom implements Uplink {
  readonly #subject: string
  readonly #key: string
  readonly #subscriptions = new Map<string, Subscription | undefined>()
  readonly #held = new Set<number>()
  #stopWatching: (() => void) | undefined
  #closed = false

  constructor(
    readonly nats: Nats,
    readonly room: Room,
  ) {
    // The name was checked to be one word when the client came in.
    this.#subject = `${nats.options.prefix}.room.${room.name}`
    this.#key = room.name
  }

  readonly claims = {
    claim: (lease: Lease): boolean | Promise<boolean> => {
      const { leases, node } = this.nats
      if (!leases) return true
      const key = this.#ipKey(lease.ip)
      const claim: Claim = { node, mac: macWord(lease.mac), ...(lease.name && { name: lease.name }) }
      const held = leases.get(key)
      if (held?.revision !== undefined && JSON.stringify(held.claim) === JSON.stringify(claim)) return true
      return leases.claim({
        key,
        claim,
        mayTake: other => other.mac === claim.mac,
        lost: winner => {
          this.nats.log.warn(
            { room: this.room.name, key, winner: winner.node },
            'an address is in use on another relay',
          )
          this.#mirror(lease.ip, winner)
        },
      })
    },
    release: (lease: Lease) => this.nats.leases?.release(this.#ipKey(lease.ip)),
  }

  subscribe(_: NatsConnection) {
    this.#listen('b')
    for (const mac of this.#held) this.#listen(`u.${macWord(mac)}`)
  }

  send(frame: Uint8Array) {
    const { destination } = readEthernet(frame)!
    const to = isGroupMac(destination) ? 'b' : `u.${macWord(destination)}`
    this.nats.publish(`${this.#subject}.${to}`, frame)
  }

  async hold(mac: number, firm: boolean) {
    const { leases, node } = this.nats
    const key = `${this.#key}.mac.${macWord(mac)}`
    const lost = (winner: Claim) => {
      if (this.#held.has(mac)) this.#lose(mac, winner)
    }
    const granted =
      !leases || (await leases.claim({ key, claim: { node, mac: macWord(mac) }, mayTake: () => firm, lost }))
    if (granted && !this.#closed) {
      this.#held.add(mac)
      this.#listen(`u.${macWord(mac)}`)
    }
    return granted
  }

  release(mac: number) {
    this.#held.delete(mac)
    this.#ignore(`u.${macWord(mac)}`)
    this.nats.leases?.release(`${this.#key}.mac.${macWord(mac)}`)
  }

  owns(key: string) {
    return key.startsWith(`${this.#key}.`)
  }

  /** Whether a claim of this room is still needed. */
  wants(key: string) {
    const { kind, number } = readKey(key)!
    return kind === 'mac' ? this.#held.has(number) : this.room.services.addresses.at(number) !== undefined
  }

  /** Follows what other relays claim in this room, until the next call. */
  async watch(store: NonNullable<Leases['store']>) {
    this.#stopWatching?.()
    const entries = await store.watch({ key: `${this.#key}.>` })
    if (this.#closed) return entries.stop()
    this.#stopWatching = () => entries.stop()
    for await (const entry of entries) {
      const { kind, number } = readKey(entry.key) ?? {}
      if (number === undefined) continue
      if (entry.operation !== 'PUT') {
        if (kind === 'ip') this.#unmirror(number)
        continue
      }
      const claim = readClaim(entry.value)
      if (!claim || (kind === 'ip' && number === this.room.services.settings.ip)) {
        countOne(this.nats.counts.refused, 'nats')
        this.nats.log.warn({ reason: 'nats', key: entry.key }, 'a claim that no relay makes was refused')
        continue
      }
      if (claim.node === this.nats.node) continue
      if (kind === 'ip') this.#mirror(number, claim)
      else if (this.#held.has(number)) this.#lose(number, claim)
    }
  }

  close() {
    this.#closed = true
    this.#stopWatching?.()
    for (const mac of [...this.#held]) this.release(mac)
    for (const what of [...this.#subscriptions.keys()]) this.#ignore(what)
    this.nats.leave(this)
  }

  #ipKey(ip: number) {
    return `${this.#key}.ip.${ipWord(ip)}`
  }

  #mirror(ip: number, { mac, name }: Claim) {
    const { addresses } = this.room.services
    const until = addresses.clock.now() + CLAIM_LIFE
    addresses.set({ ip, mac: Number.parseInt(mac, 16), until, ...(name && { name }) })
  }

  #unmirror(ip: number) {
    const { addresses } = this.room.services
    const lease = addresses.at(ip)
    if (lease && !this.#held.has(lease.mac)) addresses.release(ip)
  }

  #lose(mac: number, winner: Claim) {
    const member = this.room.holder(mac)
    this.#held.delete(mac)
    this.#ignore(`u.${macWord(mac)}`)
    this.nats.log.warn(
      { room: this.room.name, mac: macWord(mac), winner: winner.node },
      'a MAC address is in use on another relay',
    )
    member?.replaced('its MAC address is in use on another relay')
  }

  #listen(what: string) {
    this.#ignore(what)
    this.#subscriptions.set(
      what,
      this.nats.subscription(`${this.#subject}.${what}`, data => this.#receive(what, data)),
    )
  }

  #ignore(what: string) {
    this.#subscriptions.get(what)?.unsubscribe()
    this.#subscriptions.delete(what)
  }

  #receive(what: string, frame: Uint8Array) {
    const header = readEthernet(frame)
    const { mtu } = this.nats.options
    const right =
      header && (isGroupMac(header.destination) ? what === 'b' : what === `u.${macWord(header.destination)}`)
    // Relays send no such thing: somebody else has got into this NATS, or there is a mistake in its permissions.
    if (!right || frame.length > ETHERNET_HEADER + mtu || this.#held.has(header.source) || this.#poses(header.source)) {
      countOne(this.nats.counts.refused, 'nats')
      this.nats.log.warn(
        { reason: 'nats', room: this.room.name, length: frame.length },
        'a frame from NATS was refused',
      )
      return
    }
    this.room.fromElsewhere(frame)
  }

  #poses(source: number) {
    return isGroupMac(source) || source === this.room.services.settings.mac
  }
}
