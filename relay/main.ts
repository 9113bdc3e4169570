#!/usr/bin/env -S npx tsx
/** The command line of the relay. `npm run -s relay -- --help` */

import { readFileSync } from 'node:fs'
import cac from 'cac'
import type { JWK } from 'jose'
import { pino } from 'pino'
import { createKey, type Grant, mintToken, publicHalf } from './access.ts'
import { nameServer, openEgress } from './egress/egress.ts'
import { EgressPolicy } from './egress/policy.ts'
import { joinNats } from './federation/federation.ts'
import { Counts } from './metrics.ts'
import { flagOf, mergeOptions, OPTIONS, OptionError, type Options } from './options.ts'
import { lanSettings, startRelay } from './server.ts'

const cli = cac('relay')

const serve = cli
  .command('', 'Carry Ethernet frames between Ringlet machines: one frame a WebSocket message')
  .option(
    '--config <file>',
    'JSON object with the options below by their names, such as {"maxClients": 10}; flags come first',
  )
for (const [name, [schema, takes, doc]] of Object.entries(OPTIONS)) {
  const standard = schema.default
  const shown = standard === undefined || standard === false || `${standard}` === '' ? '' : ` (default: ${standard})`
  serve.option(`--${flagOf(name)}${takes && ` ${takes}`}`, doc + shown)
}
serve
  .example('npm run -s relay                                   # pages of this machine, each in a room of its own')
  .example('npm run -s relay -- --rooms open                   # pages that ask for the same ?room=NAME share it')
  .example('npm run -s relay -- --listen 0.0.0.0:7654 --origins https://app.example --token-key relay.public.json')
  .example('npm run -s relay -- --egress --allow deb.debian.org,example.org')
  .action(async (flags: Record<string, unknown>) => run(optionsFrom(flags)))

cli
  .command('key [private]', 'Print a fresh key for tokens, or the public half of one: all that a relay needs')
  .action(async (file: string | undefined) => print(file === undefined ? await createKey() : publicHalf(readKey(file))))

cli
  .command('token', 'Print a token that lets its bearer in')
  .option('--key <file>', 'Private key to sign with')
  .option('--room <name>', 'Room it is for (default: a private one)')
  .option('--mac <address>', 'The only MAC address its bearer may use; a newer connection replaces an older one')
  .option('--egress', 'Lets its bearer out, if the relay does')
  .option('--bytes-per-second <n>', 'What its bearer may send')
  .option('--frames-per-second <n>', 'Likewise')
  .option('--broadcasts-per-second <n>', 'Likewise')
  .option('--seconds <n>', 'How long it is valid', { default: 300 })
  .example('npm run -s relay -- token --key relay.json --room lab --mac 52:54:00:12:34:56 --seconds 600')
  .action(async (flags: { key?: string; seconds: number } & Grant) => {
    if (flags.key === undefined) throw new OptionError('A token is signed by a key: --key FILE (see the key command).')
    const { room, mac, egress, bytesPerSecond, framesPerSecond, broadcastsPerSecond } = flags
    const grant = {
      room: room === undefined ? undefined : `${room}`,
      mac,
      egress,
      bytesPerSecond,
      framesPerSecond,
      broadcastsPerSecond,
    }
    process.stdout.write(`${await mintToken(readKey(flags.key), grant, flags.seconds)}\n`)
  })
cli.help()

const print = (key: JWK) => process.stdout.write(`${JSON.stringify(key)}\n`)

function optionsFrom({ '--': _, config, ...flags }: Record<string, unknown>): Options {
  const file = typeof config === 'string' ? config : undefined
  return mergeOptions(file && read(file), flags, file)
}

function read(file: string) {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new OptionError(`${file} cannot be read: ${(error as Error).message}`)
  }
}

function readKey(file: string): JWK {
  try {
    return JSON.parse(read(file)) as JWK
  } catch (error) {
    throw error instanceof OptionError ? error : new OptionError(`${file} is not a key in JSON (JWK).`)
  }
}

async function run(options: Options) {
  // Not by pino's own writer, which at the exit tries for ever to write what nobody reads any more.
  process.stdout.on('error', () => {})
  const log = pino({ name: 'relay', level: options.logLevel }, process.stdout)
  const key = options.tokenKey === undefined ? undefined : readKey(options.tokenKey)
  const counts = new Counts()
  const policy = new EgressPolicy(options.allow, () => performance.now())
  const egress = options.egress
    ? openEgress(policy, lanSettings(options), nameServer(options.dns), counts, log)
    : undefined
  process.on('exit', () => egress?.close())
  const federation =
    options.nats === undefined
      ? undefined
      : await joinNats({ url: options.nats, prefix: options.natsPrefix, mtu: options.mtu }, counts, log)
  const relay = await startRelay(options, { log, key, counts, outside: egress, federation })
  let stopping = false
  const stop = async (signal: string) => {
    if (stopping) process.exit(1)
    stopping = true
    log.info({ signal }, 'asked to stop')
    await relay.close()
    await federation?.close()
    process.exit(0)
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
}

try {
  cli.parse(process.argv, { run: false })
  await cli.runMatchedCommand()
} catch (error) {
  const { message, name, code = '' } = error as Error & { code?: string }
  const expected = ['OptionError', 'CACError', 'ValiError', 'EgressError', 'FederationError'].includes(name)
  if (!expected && !['EADDRINUSE', 'EADDRNOTAVAIL', 'EACCES', 'ENOTFOUND'].includes(code)) throw error
  process.stderr.write(`relay: ${message}\n`)
  process.exit(2)
}
