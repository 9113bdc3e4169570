/** Claims of this relay in a bucket that all relays share: who has which MAC and IP address of a room. */

import { type KV, Kvm } from '@nats-io/kv'
import { type NatsConnection, NoRespondersError, RequestError } from '@nats-io/transport-node'
import type { Logger } from 'pino'
import * as v from 'valibot'

const claim = v.object({
  /** Id of the relay that made it; becomes a word of a subject. */
  node: v.pipe(v.string(), v.regex(/^\w{1,63}$/)),
  mac: v.pipe(v.string(), v.regex(/^[\da-f]{12}$/)),
  name: v.optional(v.pipe(v.string(), v.regex(/^[a-z\d-]{1,63}$/))),
})
export type Claim = Readonly<v.InferOutput<typeof claim>>

/** A value of the bucket; nothing where no relay could have written it. */
export function readClaim(value: Uint8Array): Claim | undefined {
  try {
    const read = v.safeParse(claim, JSON.parse(new TextDecoder().decode(value)))
    return read.success ? read.output : undefined
  } catch {
    return undefined
  }
}

/** Of a key: whose claim it is, and for what. Nothing where it is none. */
export function readKey(key: string) {
  const [, room, kind, word = ''] = /^([\w-]+)\.(ip|mac)\.([\da-f]+)$/.exec(key) ?? []
  if (word.length !== (kind === 'ip' ? 8 : 12)) return undefined
  return { room: room!, kind: kind as 'ip' | 'mac', number: Number.parseInt(word, 16) }
}

export interface Held {
  readonly key: string
  readonly claim: Claim
  /** Whether another relay's claim may be overruled. */
  readonly mayTake: (other: Claim) => boolean
  /** Somebody else has it after all. */
  readonly lost: (winner: Claim) => void
  /** In the bucket; absent while it could not be told. */
  revision?: number
}

/** A claim lapses if it was not renewed for so long, in milliseconds. */
export const CLAIM_LIFE = 60_000
export const RENEW_EVERY = 20_000
/** Of one operation, in milliseconds. */
const PATIENCE = 2000

export class Leases {
  #kv: KV | undefined
  readonly #held = new Map<string, Held>()

  constructor(
    readonly connection: NatsConnection,
    readonly prefix: string,
    readonly node: string,
    readonly log: Logger,
  ) {}

  get store() {
    return this.#kv
  }

  get(key: string) {
    return this.#held.get(key)
  }

  /** Makes the bucket if it is not there (any more), and claims again what is held. */
  async open() {
    const manager = new Kvm(this.connection)
    const settings = { ttl: CLAIM_LIFE, history: 1, storage: 'memory', timeout: PATIENCE } as const
    this.#kv = await manager.create(`${this.prefix}-leases`, settings)
    for (const held of [...this.#held.values()]) {
      held.revision = undefined
      await this.#settle(held)
    }
  }

  /** Without the bucket everything is granted, and claimed when it is back. */
  close() {
    this.#kv = undefined
  }

  /** Whether it is ours now. */
  async claim(held: Held): Promise<boolean> {
    const before = this.#held.get(held.key)
    this.#held.set(held.key, held)
    held.revision = before?.revision
    if (await this.#write(held)) return true
    this.#forget(held)
    return false
  }

  release(key: string) {
    const held = this.#held.get(key)
    this.#held.delete(key)
    if (held?.revision === undefined || !this.#kv) return
    this.#kv.delete(key, { previousSeq: held.revision }).catch(error => {
      // It has lapsed or was taken over, or will lapse.
      this.log.debug({ key, err: error }, 'a claim could not be given back')
    })
  }

  /** To be called every `RENEW_EVERY`. `wanted` says what is still needed. */
  async renew(wanted: (held: Held) => boolean) {
    for (const held of [...this.#held.values()]) {
      if (this.#held.get(held.key) !== held) continue
      if (wanted(held)) await this.#settle(held)
      else this.release(held.key)
    }
  }

  async #settle(held: Held) {
    if (await this.#write(held)) return
    this.#forget(held)
  }

  #forget(held: Held) {
    if (this.#held.get(held.key) === held) this.#held.delete(held.key)
  }

  /** False only where another relay has it, which is then told to the holder. */
  async #write(held: Held): Promise<boolean> {
    const { key, claim } = held
    const value = JSON.stringify(claim)
    for (let attempt = 0; attempt < 3; attempt++) {
      const kv = this.#kv
      if (!kv) return true
      try {
        held.revision = await (held.revision === undefined
          ? kv.create(key, value)
          : kv.update(key, value, held.revision))
        return true
      } catch {
        held.revision = undefined
      }
      try {
        const entry = await kv.get(key)
        if (entry?.operation === 'PUT') {
          const other = readClaim(entry.value)
          const ours = !other || other.node === this.node || held.mayTake(other) || !(await this.#isAlive(other.node))
          if (!ours) {
            held.lost(other)
            return false
          }
          held.revision = entry.revision
        } else held.revision = undefined
      } catch (error) {
        this.log.warn({ key, err: error }, 'a claim could not be made; it is tried again')
        return true
      }
    }
    return true
  }

  /** A relay that was killed answers no more, so nobody has to wait until its claims lapse. */
  async #isAlive(node: string) {
    try {
      await this.connection.request(nodeSubject(this.prefix, node), '', { timeout: 500 })
      return true
    } catch (error) {
      const none = error instanceof NoRespondersError || (error instanceof RequestError && error.isNoResponders())
      return !none
    }
  }
}

export const nodeSubject = (prefix: string, node: string) => `${prefix}.node.${node}`
