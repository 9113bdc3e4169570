/** A NATS server of the test, with JetStream in a directory of its own. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  return port
}

export class NatsServer {
  #process: ChildProcess | undefined
  private constructor(
    readonly port: number,
    readonly directory: string,
    readonly jetStream: boolean,
  ) {}

  static async start(jetStream = true) {
    const server = new NatsServer(await freePort(), await mkdtemp(join(tmpdir(), 'ringlet-nats-')), jetStream)
    await server.run()
    return server
  }

  get url() {
    return `nats://127.0.0.1:${this.port}`
  }

  get pid() {
    return this.#process!.pid!
  }

  async run() {
    const args = ['-a', '127.0.0.1', '-p', `${this.port}`, ...(this.jetStream ? ['-js', '-sd', this.directory] : [])]
    this.#process = spawn('nats-server', args, { stdio: 'ignore' })
    for (let tries = 0; tries < 200; tries++) {
      const socket = connect(this.port, '127.0.0.1')
      const up = await new Promise<boolean>(resolve => {
        socket.once('connect', () => resolve(true))
        socket.once('error', () => resolve(false))
      })
      socket.destroy()
      if (up) return
      await new Promise(resolve => setTimeout(resolve, 25))
    }
    throw new Error('nats-server does not listen')
  }

  /** As by `kill -9`. */
  async kill() {
    const running = this.#process
    this.#process = undefined
    if (!running || running.exitCode !== null || running.signalCode !== null) return
    running.kill('SIGKILL')
    await once(running, 'exit')
  }

  async close() {
    await this.kill()
    await rm(this.directory, { recursive: true, force: true })
  }
}
