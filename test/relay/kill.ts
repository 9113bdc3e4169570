/** What `kill -9` does under load, and how long until it is healed. Times are in milliseconds. */

import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseIp } from '../../src/net/ipv4.ts'
import { Guest, type GuestOptions } from './guest.ts'
import { HTTP_PORT, makeInternet, PUBLIC } from './internet.ts'
import { NatsServer } from './nats-server.ts'
import { RelayProcess } from './process.ts'
import { arpRequest, pingFrame } from './station.ts'
import { download } from './tcp.ts'

const lab: GuestOptions = { query: '?room=lab' }
const PATIENCE = 60_000

/** Closed at the end of a scenario, whatever its end is, the last one first. */
type Keep = <T extends { close(): unknown }>(thing: T) => T

async function scenario<T>(play: (keep: Keep) => Promise<T>): Promise<T> {
  const kept: { close(): unknown }[] = []
  try {
    return await play(thing => {
      kept.push(thing)
      return thing
    })
  } finally {
    for (const thing of kept.reverse()) await thing.close()
  }
}

/** Frames from one guest to another, a thousand a second. */
function load(from: Guest, to: Guest) {
  const timer = setInterval(() => {
    for (let i = 0; i < 10; i++) from.send(pingFrame(from.end, to.end, 1000))
  }, 10)
  return { close: () => clearInterval(timer) }
}

async function guestOn(url: string) {
  const guest = (await Guest.connect(url, lab)).serve()
  await guest.dhcp()
  return guest
}

/** Connects with the same addresses, as a guest's machine does that noticed nothing. */
async function reconnect(guest: Guest, url: string) {
  const deadline = performance.now() + PATIENCE
  for (;;)
    try {
      const again = (await Guest.connect(url, { ...lab, mac: guest.mac })).serve()
      again.ip = guest.ip
      return again
    } catch (error) {
      if (performance.now() > deadline) throw error
      await sleep(50)
    }
}

/** Pings until one comes back: since when that took how long. */
async function untilPong(from: Guest, to: Guest, since: number) {
  const deadline = performance.now() + PATIENCE
  for (;;)
    try {
      await from.ping(to.end, 500)
      return performance.now() - since
    } catch (error) {
      if (performance.now() > deadline) throw error
    }
}

async function until(is: () => boolean | Promise<boolean>, since: number) {
  while (!(await is())) {
    if (performance.now() - since > PATIENCE) throw new Error('it did not heal')
    await sleep(10)
  }
  return performance.now() - since
}

/** A relay is killed and started again: guests go on with the addresses they had. */
export const killRelay = () =>
  scenario(async keep => {
    const first = keep(await RelayProcess.start(['--rooms', 'open']))
    const [a, b] = [keep(await guestOn(first.url)), keep(await guestOn(first.url))]
    keep(load(a, b))
    await sleep(500)
    const killed = performance.now()
    await first.kill()
    await a.whenClosed()
    const noticed = performance.now() - killed
    const second = keep(await RelayProcess.start(['--rooms', 'open'], first.port))
    const listens = performance.now() - killed
    const [c, d] = [keep(await reconnect(a, second.url)), keep(await reconnect(b, second.url))]
    return { noticed, listens, healed: await untilPong(d, c, killed) }
  })

/** One of two relays is killed: its guest goes to the other one, and its friend there reaches it again. */
export const failOver = () =>
  scenario(async keep => {
    const nats = keep(await NatsServer.start())
    const flags = ['--rooms', 'open', '--nats', nats.url]
    const [east, west] = [keep(await RelayProcess.start(flags)), keep(await RelayProcess.start(flags))]
    const [a, b] = [keep(await guestOn(east.url)), keep(await guestOn(west.url))]
    keep(load(b, a))
    await b.ping(a.end)
    await sleep(500)
    const killed = performance.now()
    await east.kill()
    await a.whenClosed()
    const again = keep(await reconnect(a, west.url))
    // As a guest does that is told by its network device to announce itself, when its link is back.
    again.send(arpRequest(again.mac, again.ip, again.ip))
    return { healed: await untilPong(b, again, killed) }
  })

/** The NATS server is killed and, later, started again. */
export const killNats = () =>
  scenario(async keep => {
    const nats = keep(await NatsServer.start())
    const flags = ['--rooms', 'open', '--nats', nats.url]
    const [east, west] = [keep(await RelayProcess.start(flags)), keep(await RelayProcess.start(flags))]
    const [a, b, c] = [keep(await guestOn(east.url)), keep(await guestOn(west.url)), keep(await guestOn(west.url))]
    keep(load(a, b))
    await sleep(500)
    const ready = async () => (await fetch(`http://127.0.0.1:${west.port}/readyz`)).text()
    const killed = performance.now()
    await nats.kill()
    const local = await untilPong(c, b, killed)
    const said = await until(async () => (await ready()).includes('cannot be reached'), killed)
    await sleep(1000)
    const back = performance.now()
    await nats.run()
    return { local, said, healed: await untilPong(b, a, back) }
  })

const childrenOf = (pid: number) =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number)

/** The passt of a guest that downloads is killed: what was under way is lost, what begins afterwards works. */
export const killPasst = () =>
  scenario(async keep => {
    keep(await makeInternet())
    const relay = keep(await RelayProcess.start(['--egress', '--dns', PUBLIC]))
    const [a, bystander] = [keep(await guestOn(relay.url)), keep(await guestOn(relay.url))]
    const to = parseIp(PUBLIC)!
    const count = (bytes: Uint8Array) => {
      got += bytes.length
    }
    let got = 0
    const broken = download(a, to, HTTP_PORT, '/bytes/1000000000', count, 5000).then(
      () => false,
      () => true,
    )
    await until(() => got > 100_000, performance.now())
    const passt = childrenOf(relay.pid).find(pid => readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('passt'))
    if (passt === undefined) throw new Error('the guest has no passt')
    const killed = performance.now()
    process.kill(passt, 'SIGKILL')
    const healed = await untilDownload(a, to, killed)
    if (!(await broken)) throw new Error('the download went on without its passt')
    await download(bystander, to, HTTP_PORT, '/hello', () => {})
    return { healed }
  })

/** Asks for something small until it comes. */
async function untilDownload(guest: Guest, to: number, since: number) {
  for (;;)
    try {
      await download(guest, to, HTTP_PORT, '/hello', () => {}, 500)
      return performance.now() - since
    } catch (error) {
      if (performance.now() - since > PATIENCE) throw error
    }
}
