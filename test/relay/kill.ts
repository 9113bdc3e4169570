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
const PATIENCE = 30_000

/** Frames from one guest to another, a thousand a second, until it is called. */
function load(from: Guest, to: Guest) {
  const timer = setInterval(() => {
    for (let i = 0; i < 10; i++) from.send(pingFrame(from.end, to.end, 1000))
  }, 10)
  return () => clearInterval(timer)
}

async function guests(...urls: string[]) {
  const made: Guest[] = []
  for (const url of urls) {
    const guest = (await Guest.connect(url, lab)).serve()
    await guest.dhcp()
    made.push(guest)
  }
  return made
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
      await from.ping(to.end, 200)
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
export async function killRelay() {
  const first = await RelayProcess.start(['--rooms', 'open', '--log-level', 'info'])
  const [a, b] = await guests(first.url, first.url)
  const stop = load(a!, b!)
  await sleep(500)
  const killed = performance.now()
  await first.kill()
  stop()
  await a!.whenClosed()
  const noticed = performance.now() - killed
  const second = await RelayProcess.start(['--rooms', 'open'], first.port)
  const listens = performance.now() - killed
  const [c, d] = [await reconnect(a!, second.url), await reconnect(b!, second.url)]
  const healed = await untilPong(d, c, killed)
  for (const guest of [c, d]) guest.close()
  await second.kill()
  return { noticed, listens, healed }
}

/** One of two relays is killed: its guest goes to the other one, and its friend there reaches it again. */
export async function failOver() {
  const nats = await NatsServer.start()
  const flags = ['--rooms', 'open', '--nats', nats.url]
  const [east, west] = [await RelayProcess.start(flags), await RelayProcess.start(flags)]
  const [a, b] = await guests(east.url, west.url)
  const stop = load(a!, b!)
  await sleep(500)
  const killed = performance.now()
  await east.kill()
  stop()
  await a!.whenClosed()
  const again = await reconnect(a!, west.url)
  // As a guest does that is told by its network device to announce itself, when its link is back.
  again.send(arpRequest(again.mac, again.ip, again.ip))
  const healed = await untilPong(b!, again, killed)
  for (const guest of [again, b!]) guest.close()
  await west.kill()
  await nats.close()
  return { healed }
}

/** The NATS server is killed and, later, started again. */
export async function killNats() {
  const nats = await NatsServer.start()
  const flags = ['--rooms', 'open', '--nats', nats.url]
  const [east, west] = [await RelayProcess.start(flags), await RelayProcess.start(flags)]
  const [a, b, c] = await guests(east.url, west.url, west.url)
  const stop = load(a!, b!)
  await sleep(500)
  const ready = async (relay: RelayProcess) => (await fetch(`http://127.0.0.1:${relay.port}/readyz`)).text()
  const killed = performance.now()
  await nats.kill()
  const local = await untilPong(c!, b!, killed)
  const said = await until(async () => (await ready(west)).includes('cannot be reached'), killed)
  await sleep(1000)
  const back = performance.now()
  await nats.run()
  const healed = await untilPong(b!, a!, back)
  stop()
  for (const guest of [a!, b!, c!]) guest.close()
  await Promise.all([east.kill(), west.kill()])
  await nats.close()
  return { local, said, healed }
}

const childrenOf = (pid: number) =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number)

/** The passt of a guest that downloads is killed: what was under way is lost, what begins afterwards works. */
export async function killPasst() {
  const internet = await makeInternet()
  const relay = await RelayProcess.start(['--egress', '--dns', PUBLIC])
  try {
    const [a, bystander] = await guests(relay.url, relay.url)
    const to = parseIp(PUBLIC)!
    let got = 0
    const broken = download(a!, to, HTTP_PORT, '/bytes/1000000000', bytes => (got += bytes.length), 1000).then(
      () => false,
      () => true,
    )
    await until(() => got > 100_000, performance.now())
    const passt = childrenOf(relay.pid).find(pid => readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('passt'))
    if (passt === undefined) throw new Error('the guest has no passt')
    const killed = performance.now()
    process.kill(passt, 'SIGKILL')
    let healed = 0
    while (!healed)
      try {
        await download(a!, to, HTTP_PORT, '/hello', () => {}, 200)
        healed = performance.now() - killed
      } catch (error) {
        if (performance.now() - killed > PATIENCE) throw error
      }
    if (!(await broken)) throw new Error('the download went on without its passt')
    await download(bystander!, to, HTTP_PORT, '/hello', () => {})
    for (const guest of [a!, bystander!]) guest.close()
    return { healed }
  } finally {
    await relay.close()
    await internet.close()
  }
}
