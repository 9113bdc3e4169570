/** The relay: HTTP for who watches it, WebSockets for its clients. */

import { createServer, type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { JWK } from 'jose'
import type { Logger } from 'pino'
import { type WebSocket, WebSocketServer } from 'ws'
import { BUNDLE_LIMIT } from '../src/net/bundle.ts'
import { DEFAULT_LAN, type LanSettings } from '../src/net/lan-services.ts'
import { AccessError, checkOrigin, type Grant, isLoopback, isRoomName, tokenVerifier } from './access.ts'
import { Client, type Outside } from './client.ts'
import { Tally } from './limits.ts'
import { Counts, countOne, metricsRegistry } from './metrics.ts'
import { type Options, parseEndpoint, parseNetwork } from './options.ts'
import { Room, type Uplink } from './room.ts'

/** Other relays, as far as the server has to know. */
export interface Federation {
  connect(room: Room): Uplink
  /** Whether they can be reached now. */
  readonly connected: boolean
}

export interface Surroundings {
  readonly log: Logger
  readonly key?: JWK
  readonly counts?: Counts
  readonly outside?: Outside
  readonly federation?: Federation
}

export interface Relay {
  readonly host: string
  readonly port: number
  readonly counts: Counts
  /** `ws://…/` */
  readonly url: string
  /** Sends the clients away, evenly over `drainSeconds`, and stops. */
  close(): Promise<void>
}

/** Time for a request's headers, and for all of it: who is slower is cut off. */
const HEADERS_MS = 5000
const GOING_AWAY = 1001

/** What all rooms have in common. */
export function lanSettings({ network, mtu, leaseSeconds }: Options): LanSettings {
  const range = parseNetwork(network)!
  return { ...DEFAULT_LAN, ...range, ip: range.network + 1, mtu, leaseSeconds }
}

export async function startRelay(
  options: Options,
  { log, key, outside, federation, ...more }: Surroundings,
): Promise<Relay> {
  const { host, port } = parseEndpoint(options.listen)!
  const counts = more.counts ?? new Counts()
  const clock = { now: () => performance.now() }
  const verify = key && (await tokenVerifier(key, options.tokenAge))
  const originless = options.originless ?? (isLoopback(host) || verify !== undefined)
  const lan = lanSettings(options)
  const rooms = new Map<string, Room>()
  const clients = new Map<Client, { name: string }>()
  const addresses = new Tally(options.maxPerAddress)
  let serial = 0
  let draining = false

  const registry = metricsRegistry(counts, {
    clients: ['Clients connected', () => clients.size],
    rooms: ['Rooms with a client', () => rooms.size],
    federated: ['1 while other relays can be reached', () => Number(federation?.connected ?? false)],
  })

  const http = createServer(
    {
      connectionsCheckingInterval: 1000,
      headersTimeout: HEADERS_MS,
      requestTimeout: HEADERS_MS * 2,
      maxHeaderSize: 8192,
    },
    answer,
  )
  http.keepAliveTimeout = HEADERS_MS
  const sockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: BUNDLE_LIMIT,
    // The other one offered is the token.
    handleProtocols: offered => (offered.has('ringlet') ? 'ringlet' : false),
  })

  // Counted from the first packet on, so that half-finished requests of one address leave room for others.
  http.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? ''
    if (options.trustProxy) return
    if (!addresses.add(address)) {
      reject(new AccessError(429, 'address', 'Too many connections from this address.'), address)
      socket.destroy()
      return
    }
    socket.once('close', () => addresses.remove(address))
  })
  http.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') {
      countOne(counts.rejected, 'slow')
      log.warn(
        { address: (socket as Socket).remoteAddress, reason: 'slow' },
        'connection rejected: its request took too long',
      )
    }
    dismiss(socket, 400, 'This is not a request that can be answered.')
  })
  http.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const address = addressOf(request)
    socket.on('error', () => socket.destroy())
    admit(request).then(
      entry => sockets.handleUpgrade(request, socket, head, ws => enter(ws, socket, entry, address)),
      error => {
        if (!(error instanceof AccessError)) log.error({ err: error }, 'a connection could not be checked')
        const refusal =
          error instanceof AccessError ? error : new AccessError(500, 'path', 'The relay failed; see its log.')
        reject(refusal, address)
        dismiss(socket, refusal.status, refusal.message)
      },
    )
  })

  /** Says why, and does not wait for the other side to close as well. */
  function dismiss(socket: Duplex, status: number, why: string) {
    if (!socket.writable) return socket.destroy()
    const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8`
    socket.end(`${head}\r\nContent-Length: ${Buffer.byteLength(why)}\r\n\r\n${why}`, () => socket.destroy())
  }

  function reject(error: AccessError, address: string) {
    countOne(counts.rejected, error.reason)
    log.warn({ address, reason: error.reason, why: error.message }, 'connection rejected')
  }

  function addressOf(request: IncomingMessage) {
    const forwarded = options.trustProxy ? request.headers['x-forwarded-for'] : undefined
    return (
      String(forwarded ?? '')
        .split(',')
        .at(-1)!
        .trim() ||
      (request.socket.remoteAddress ?? '')
    )
  }

  interface Entry {
    readonly grant: Grant
    readonly origin?: string
  }

  async function admit(request: IncomingMessage): Promise<Entry> {
    const { origin } = request.headers
    if (draining) throw new AccessError(503, 'draining', 'This relay is going away; connect again.')
    if (clients.size >= options.maxClients) throw new AccessError(503, 'full', 'This relay is full.')
    checkOrigin(origin, options.origins, originless)
    const url = URL.canParse(request.url ?? '', 'ws://relay') ? new URL(request.url ?? '', 'ws://relay') : undefined
    if (url?.pathname !== '/') throw new AccessError(404, 'path', 'WebSockets are at / only.')
    const offered = request.headers['sec-websocket-protocol']?.split(',').map(part => part.trim()) ?? []
    const token = url.searchParams.get('token') ?? offered.find(part => part !== 'ringlet')
    const grant: Grant = verify ? await verify(token ?? undefined) : {}
    const asked = url.searchParams.get('room')
    if (verify || options.rooms === 'private' || asked === null) return { grant, origin }
    if (!isRoomName(asked)) throw new AccessError(400, 'room', 'A room is 1 to 63 letters, digits, - and _.')
    return { grant: { ...grant, room: asked }, origin }
  }

  function roomFor({ room: name }: Grant, id: string) {
    // Not a name anybody can ask for, so nobody else gets in, here or on another relay.
    if (name === undefined) return new Room(`~${id}`, lan, clock)
    return rooms.get(name) ?? new Room(name, lan, clock, federation && (room => federation.connect(room)))
  }

  function enter(ws: WebSocket, socket: Duplex, { grant, origin }: Entry, address: string) {
    const id = (++serial).toString(36)
    if (options.trustProxy) {
      if (!addresses.add(address)) {
        reject(new AccessError(429, 'address', 'Too many connections from this address.'), address)
        ws.close(1013, 'too many connections from this address')
        return
      }
      ws.once('close', () => addresses.remove(address))
    }
    const room = roomFor(grant, id)
    rooms.set(room.name, room)
    const child = log.child({ client: id, room: room.name, address })
    ws.on('error', (error: NodeJS.ErrnoException) => {
      const reason = error.code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH' ? 'oversize' : 'protocol'
      countOne(counts.refused, reason)
      child.warn({ reason, why: error.message }, 'connection broken off')
    })
    const mayLeave = outside && (verify === undefined || grant.egress === true)
    const client = new Client({ id, ws, socket, grant, room }, options, counts, child, mayLeave ? outside : undefined)
    clients.set(client, { name: room.name })
    child.info({ origin, mac: grant.mac }, 'client connected')
    ws.on('close', code => {
      clients.delete(client)
      if (room.size === 0 && rooms.get(room.name) === room) {
        rooms.delete(room.name)
        room.close()
      }
      child.info({ code, mac: client.mac }, 'client disconnected')
    })
  }

  function answer(request: IncomingMessage, response: ServerResponse) {
    const say = (status: number, body: string, type = 'text/plain; charset=utf-8') =>
      response.writeHead(status, { 'content-type': type }).end(body)
    if (request.method !== 'GET') return say(405, 'Only GET.\n')
    switch (request.url) {
      case '/healthz':
        return say(200, 'alive\n')
      case '/readyz':
        if (draining) return say(503, 'going away\n')
        return say(200, federation && !federation.connected ? 'ready, but other relays cannot be reached\n' : 'ready\n')
      case '/metrics':
        return registry.metrics().then(
          body => say(200, body, registry.contentType),
          error => say(500, String(error)),
        )
    }
    return say(404, 'A Ringlet relay: WebSocket at /, and /healthz, /readyz, /metrics.\n')
  }

  const pulse = setInterval(() => {
    const now = performance.now()
    for (const client of clients.keys()) {
      const silent = now - client.seen
      if (silent > options.idleSeconds * 1000) {
        client.log.info({ seconds: Math.round(silent / 1000) }, 'client silent for too long')
        client.connection.ws.terminate()
      } else if (silent > options.idleSeconds * 333) client.connection.ws.ping()
    }
  }, options.idleSeconds * 250)

  await new Promise<void>((resolve, fail) => {
    http.once('error', fail)
    http.listen({ host, port }, resolve)
  })
  const bound = http.address() as AddressInfo
  const url = `ws://${host.includes(':') ? `[${host}]` : host}:${bound.port}/`
  log.info({ url, egress: outside !== undefined, tokens: verify !== undefined, rooms: options.rooms }, 'relay listens')

  return {
    host,
    port: bound.port,
    url,
    counts,
    async close() {
      draining = true
      const leaving = [...clients.keys()]
      log.info({ clients: leaving.length, seconds: options.drainSeconds }, 'relay drains')
      const pause = (options.drainSeconds * 1000) / Math.max(1, leaving.length)
      const start = performance.now()
      for (const [index, client] of leaving.entries()) {
        const early = start + index * pause - performance.now()
        if (early > 1) await sleep(early)
        client.connection.ws.close(GOING_AWAY, 'the relay is going away')
      }
      if (clients.size) await sleep(Math.min(500, options.drainSeconds * 1000))
      for (const client of clients.keys()) client.connection.ws.terminate()
      clearInterval(pulse)
      http.closeAllConnections()
      await new Promise(resolve => http.close(resolve))
      log.info('relay stopped')
    },
  }
}
