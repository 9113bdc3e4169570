/** Who may connect, and as whom: Origin and token. */

import { exportJWK, generateKeyPair, importJWK, type JWK, jwtVerify, SignJWT } from 'jose'
import * as v from 'valibot'
import { isGroupMac, parseMac } from '../src/net/ethernet.ts'

const ALGORITHM = 'EdDSA'
const AUDIENCE = 'ringlet-relay'

/** Names that can be a word of a NATS subject, so without `.`, `*`, `>` and blanks. */
const roomName = v.pipe(v.string(), v.regex(/^[a-zA-Z\d][\w-]{0,62}$/, 'a room is 1 to 63 letters, digits, - and _'))
export const isRoomName = (name: string) => v.is(roomName, name)

const mac = v.pipe(
  v.string(),
  v.check(
    text => parseMac(text) !== undefined && !isGroupMac(parseMac(text)!),
    'six hex pairs of one station are needed',
  ),
)
const limit = v.optional(v.pipe(v.number(), v.minValue(1)))

const claims = v.object({
  room: v.optional(roomName),
  mac: v.optional(mac),
  egress: v.optional(v.boolean()),
  bytesPerSecond: limit,
  framesPerSecond: limit,
  broadcastsPerSecond: limit,
})
/** What a token grants. Without a room it is a private one; without a MAC the client's first frame says. */
export type Grant = v.InferOutput<typeof claims>

/** The client may not connect; the message may be told to it, `reason` is for logs and metrics. */
export class AccessError extends Error {
  override name = 'AccessError'
  constructor(
    readonly status: number,
    readonly reason: 'origin' | 'token' | 'room' | 'address' | 'full' | 'draining' | 'path',
    message: string,
  ) {
    super(message)
  }
}

const isLoopbackName = (host: string) =>
  host === 'localhost' || host.endsWith('.localhost') || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host)

/** Only loopback pages where no origin is listed. */
export function checkOrigin(origin: string | undefined, allowed: readonly string[], originless: boolean) {
  if (origin === undefined) {
    if (originless) return
    throw new AccessError(403, 'origin', 'Clients without an Origin are not admitted here.')
  }
  const ok = allowed.length
    ? allowed.includes(origin)
    : URL.canParse(origin) && /^https?:$/.test(new URL(origin).protocol) && isLoopbackName(new URL(origin).hostname)
  if (!ok) throw new AccessError(403, 'origin', 'Pages of this origin are not admitted here.')
}

export const isLoopback = (address: string) =>
  address === '::1' || address === 'localhost' || /^(::ffff:)?127\./.test(address)

/** A fresh key to sign with, as a JWK; its public half is enough for a relay. */
export async function createKey(): Promise<JWK> {
  const { privateKey } = await generateKeyPair(ALGORITHM, { extractable: true })
  return { ...(await exportJWK(privateKey)), alg: ALGORITHM }
}

export const publicHalf = ({ d: _, ...key }: JWK): JWK => key

/** A token that grants `grant` for so many seconds. */
export async function mintToken(key: JWK, grant: Grant, seconds: number) {
  const checked = v.parse(claims, grant)
  if (!key.d) throw new Error('This is the public half of a key: tokens are signed with the private one.')
  return new SignJWT(checked)
    .setProtectedHeader({ alg: ALGORITHM })
    .setAudience(AUDIENCE)
    .setIssuedAt()
    .setExpirationTime(`${seconds}s`)
    .sign(await importJWK(key, ALGORITHM))
}

/** Checks tokens against one key. `maxAge` is in seconds. */
export async function tokenVerifier(key: JWK, maxAge: number): Promise<(token: string | undefined) => Promise<Grant>> {
  const trusted = await importJWK(publicHalf(key), ALGORITHM)
  const rules = { algorithms: [ALGORITHM], audience: AUDIENCE, requiredClaims: ['exp', 'iat'], maxTokenAge: maxAge }
  return async token => {
    if (token === undefined) throw new AccessError(401, 'token', 'A token is needed: ?token=… or a subprotocol.')
    try {
      const { payload } = await jwtVerify(token, trusted, rules)
      return v.parse(claims, payload)
    } catch (error) {
      const why = v.isValiError(error) ? error.message : ((error as { code?: string }).code ?? 'unreadable')
      throw new AccessError(401, 'token', `The token is not valid (${why}).`)
    }
  }
}
