/** One `passt`: turns frames of one client into sockets of the namespace, and back. */

import { type ChildProcess, spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { formatMac } from '../../src/net/ethernet.ts'
import { formatIp, prefixMask } from '../../src/net/ipv4.ts'
import type { LanSettings } from '../../src/net/lan-services.ts'

/** Of the length before every frame, in bytes. */
const PREFIX = 4
const LONGEST_FRAME = 65_535 + 14
/** Held for a passt that reads slowly, in bytes. */
const BACKLOG = 4 * 2 ** 20

/** What its socket holds on the way here, in bytes; what does not fit is lost. */
export const SOCKET_ROOM = 2 * 2 ** 20
/** Gives the socket that is inherited as 3 that much room, which neither Node nor passt can, and becomes the command. */
const WITH_ROOM = `$^F = 3; open my $socket, '+<&=', 3 or die $!; my $SO_SNDBUFFORCE = 32;
  setsockopt $socket, 1, $SO_SNDBUFFORCE, pack('i', ${SOCKET_ROOM}) or die $!; exec @ARGV or die $!`

export interface PasstEvents {
  frame(frame: Uint8Array): void
  /** It has stopped, and not because of `close`. */
  exit(why: string): void
}

/** Cuts a stream into frames; those it gives out may be kept. `false`: the stream makes no sense. */
export class Deframer {
  #rest: Buffer = Buffer.alloc(0)
  constructor(readonly frame: (frame: Uint8Array) => void) {}

  push(chunk: Buffer): boolean {
    const bytes = this.#rest.length ? Buffer.concat([this.#rest, chunk]) : chunk
    let at = 0
    while (bytes.length - at >= PREFIX) {
      const length = bytes.readUInt32BE(at)
      if (length > LONGEST_FRAME) return false
      if (bytes.length - at - PREFIX < length) break
      this.frame(bytes.subarray(at + PREFIX, at + PREFIX + length))
      at += PREFIX + length
    }
    this.#rest = at === bytes.length ? Buffer.alloc(0) : bytes.subarray(at)
    return true
  }
}

export class Passt {
  readonly #process: ChildProcess
  readonly #socket: Socket
  #corked = false
  #closing = false

  constructor(namespace: string, lan: LanSettings, guestIp: number, events: PasstEvents) {
    // The gateway must not be the machine passt runs on (`--no-map-gw`); addresses and names are the room's own services'.
    const args = `-f -q -4 -F 3 --no-map-gw --no-dhcp --no-dhcpv6 --no-ndp --no-ra -t none -u none -D none -m ${lan.mtu}
      -a ${formatIp(guestIp)} -n ${formatIp(prefixMask(lan.prefix))} -g ${formatIp(lan.ip)} -M ${formatMac(lan.mac)}`
    const command = ['netns', 'exec', namespace, 'perl', '-e', WITH_ROOM, 'passt', ...args.split(/\s+/)]
    this.#process = spawn('ip', command, { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] })
    this.#socket = this.#process.stdio[3] as Socket
    const deframer = new Deframer(frame => events.frame(frame))
    this.#socket.on('data', chunk => deframer.push(chunk as Buffer) || this.#process.kill('SIGKILL'))
    this.#socket.on('error', () => this.#process.kill('SIGKILL'))
    this.#process.on('error', error => this.#closing || events.exit(error.message))
    this.#process.on('exit', (code, signal) => this.#closing || events.exit(signal ?? `exit code ${code}`))
  }

  get pid() {
    return this.#process.pid
  }

  /** Whether the frame could be taken. */
  send(frame: Uint8Array) {
    if (this.#socket.destroyed || this.#socket.writableLength + frame.length > BACKLOG) return false
    if (!this.#corked) {
      this.#corked = true
      this.#socket.cork()
      process.nextTick(() => {
        this.#corked = false
        this.#socket.uncork()
      })
    }
    const length = Buffer.allocUnsafe(PREFIX)
    length.writeUInt32BE(frame.length)
    this.#socket.write(length)
    this.#socket.write(frame)
    return true
  }

  close() {
    this.#closing = true
    this.#socket.destroy()
    this.#process.kill('SIGKILL')
  }
}
