/**
 * An internet for tests: a network namespace that this machine reaches by one cable. It has a public address, and private
 * ones that lead there as well, so that only a relay's own rules keep a guest from them.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/** From a range for documentation, which nothing here treats as special. */
export const PUBLIC = '198.51.100.2'
const HERE = '198.51.100.1'
export const FORBIDDEN = ['10.66.0.1', '192.168.77.1', '172.16.5.5', '169.254.169.254', '100.64.9.9']
export const HTTP_PORT = 8080
export const MB = 1_000_000

/** Why these tests cannot run here; nothing where they can. */
export function whyNot(...tools: string[]): string | undefined {
  if (process.platform !== 'linux') return `this is ${process.platform}, not Linux`
  if (process.getuid?.() !== 0) return 'this is not root'
  for (const tool of tools)
    try {
      execFileSync('sh', ['-c', `command -v ${tool}`], { stdio: 'ignore' })
    } catch {
      return `there is no ${tool} (apt-get install passt nftables iproute2 perl-base nats-server)`
    }
  const probe = `ringlet-probe-${process.pid}`
  try {
    execFileSync('ip', ['netns', 'add', probe], { stdio: 'pipe' })
    execFileSync('ip', ['netns', 'del', probe], { stdio: 'pipe' })
  } catch (error) {
    return `network namespaces cannot be made (${(error as Error).message.trim()})`
  }
  return undefined
}

export interface Internet {
  readonly namespace: string
  /** `http://198.51.100.2:8080`; `/bytes/N` is N bytes of `pattern`, `/hello` a greeting. */
  readonly url: string
  /** Connections the server has taken so far, whatever their address. */
  connections(): Promise<number>
  close(): Promise<void>
}

/** With a web server and a DNS server in it. `names` are what the DNS server knows. */
export async function makeInternet(names: Readonly<Record<string, readonly string[]>> = {}): Promise<Internet> {
  const namespace = `inet-${process.pid}`
  const cable = `in${process.pid}`
  const ip = (...args: string[]) => execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] })
  await turn()
  let server: ChildProcess | undefined
  const close = async () => {
    if (server && server.exitCode === null && server.signalCode === null) {
      server.kill('SIGKILL')
      await once(server, 'exit')
    }
    remove(namespace, cable)
  }
  try {
    ip('netns', 'add', namespace)
    ip('link', 'add', cable, 'type', 'veth', 'peer', 'name', 'net', 'netns', namespace)
    ip('addr', 'add', `${HERE}/24`, 'dev', cable)
    ip('link', 'set', cable, 'up')
    ip('-n', namespace, 'link', 'set', 'lo', 'up')
    ip('-n', namespace, 'addr', 'add', `${PUBLIC}/24`, 'dev', 'net')
    ip('-n', namespace, 'link', 'set', 'net', 'up')
    ip('-n', namespace, 'route', 'add', 'default', 'via', HERE)
    for (const address of FORBIDDEN) {
      ip('-n', namespace, 'addr', 'add', `${address}/32`, 'dev', 'lo')
      ip('route', 'add', `${address}/32`, 'via', PUBLIC)
    }
    const script = fileURLToPath(new URL('internet-server.ts', import.meta.url))
    const args = ['netns', 'exec', namespace, process.execPath, '--import', 'tsx', script, JSON.stringify(names)]
    server = spawn('ip', args, { stdio: ['ignore', 'pipe', 'inherit'] })
    const failed = once(server, 'exit').then(([code]) => Promise.reject(new Error(`its servers stopped with ${code}`)))
    await Promise.race([once(server.stdout!, 'data'), failed])
  } catch (error) {
    await close()
    throw error
  }
  const url = `http://${PUBLIC}:${HTTP_PORT}`
  const connections = async () => Number(await (await fetch(`${url}/connections`)).text())
  return { namespace, url, connections, close }
}

/** Its addresses are there once on a machine: waits for another test's, and removes what a killed one left behind. */
async function turn() {
  const deadline = Date.now() + 240_000
  for (;;) {
    const listed = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })
    const others = [...listed.matchAll(/^inet-(\d+)\b/gm)].map(([, pid]) => Number(pid))
    for (const pid of others.filter(pid => !existsSync(`/proc/${pid}`))) {
      const left = execFileSync('ip', ['netns', 'pids', `inet-${pid}`], { encoding: 'utf8' })
      for (const server of left.split('\n').filter(Boolean)) process.kill(Number(server), 'SIGKILL')
      remove(`inet-${pid}`, `in${pid}`)
    }
    const [busy] = others.filter(pid => existsSync(`/proc/${pid}`) && pid !== process.pid)
    if (busy === undefined) return
    if (Date.now() > deadline)
      throw new Error(`process ${busy} of another test has the addresses of the test's internet`)
    await sleep(500)
  }
}

function remove(namespace: string, cable: string) {
  const commands = [
    ['link', 'del', cable],
    ['netns', 'del', namespace],
  ]
  for (const args of commands)
    try {
      execFileSync('ip', args, { stdio: 'ignore' })
    } catch {
      // It was not made.
    }
}

/** What `/bytes/N` serves: position `i` holds `i * 31 + (i >> 8)`, so that a byte lost or swapped is seen. */
export function pattern(from: number, length: number) {
  const bytes = Buffer.allocUnsafe(length)
  for (let i = 0; i < length; i++) bytes[i] = (from + i) * 31 + ((from + i) >> 8)
  return bytes
}
