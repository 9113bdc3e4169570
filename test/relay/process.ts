/** A relay as a process of its own, as it is run. */

import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from './nats-server.ts'

const main = fileURLToPath(new URL('../../relay/main.ts', import.meta.url))

export class RelayProcess {
  /** What it logged. */
  readonly lines: { msg: string; [key: string]: unknown }[] = []
  readonly exit: Promise<unknown>

  private constructor(
    readonly process: ChildProcess,
    readonly port: number,
  ) {
    this.exit = once(process, 'exit')
  }

  /** Settles when it listens; fails with what it said if it stops before. `port` 0 takes a free one. */
  static async start(flags: readonly string[] = [], port = 0, how: SpawnOptions = {}): Promise<RelayProcess> {
    const chosen = port || (await freePort())
    const args = ['--import', 'tsx', main, '--listen', `127.0.0.1:${chosen}`, '--drain-seconds', '0', ...flags]
    const child = spawn(process.execPath, args, { ...how, stdio: ['ignore', 'pipe', 'pipe'] })
    const relay = new RelayProcess(child, chosen)
    let said = ''
    child.stderr!.on('data', text => {
      said += text
    })
    createInterface(child.stdout!).on('line', line => relay.lines.push(JSON.parse(line)))
    while (child.exitCode === null && child.signalCode === null) {
      const answer = await fetch(`http://127.0.0.1:${chosen}/healthz`).catch(() => undefined)
      if (answer?.ok) return relay
      await sleep(20)
    }
    throw new Error(`the relay did not start: ${said.trim()}`)
  }

  get url() {
    return `ws://127.0.0.1:${this.port}/`
  }

  get pid() {
    return this.process.pid!
  }

  /** Resident memory, in bytes. */
  memory() {
    return residentMemory(this.pid)
  }

  /** CPU time used so far, in seconds. */
  cpu() {
    return cpuSeconds(this.pid)
  }

  async metric(name: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${this.port}/metrics`)).text()
    return text
      .split('\n')
      .filter(line => line.startsWith(name) && /^[ {]/.test(line.slice(name.length)))
      .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
  }

  /** As by `kill -9`. */
  async kill() {
    this.process.kill('SIGKILL')
    await this.exit
  }

  async close() {
    this.process.kill('SIGTERM')
    await this.exit
  }
}

export const residentMemory = (pid: number) =>
  Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1024

export function cpuSeconds(pid: number) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}
