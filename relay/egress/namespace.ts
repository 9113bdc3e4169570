/** The network namespace that `passt` processes live in: joined to this machine by one cable, behind two sets of rules. */

import { execFile, execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { formatIp } from '../../src/net/ipv4.ts'
import { DENIED, DENIED_PORTS, type EgressPolicy, formatRange } from './policy.ts'

/** Clients cannot be let out safely here; the message says what is needed. */
export class EgressError extends Error {
  override name = 'EgressError'
}

const NEEDS =
  '--egress needs Linux, root (CAP_NET_ADMIN and CAP_SYS_ADMIN) and the packages passt, nftables, iproute2 and perl-base; without them it would not be safe'
const FORWARDING = '/proc/sys/net/ipv4/ip_forward'
/** The cables of all relays of this machine have their addresses here, four for each. */
const CABLES = 0x647f0000
const PREFIX = 'ringlet'
const run = promisify(execFile)

/** Rules for what leaves the namespace: nothing, but what the policy lets pass. */
export function namespaceRules(policy: EgressPolicy) {
  const opened = policy.opened.map(formatRange)
  return `
table inet egress {
  set allowed { type ipv4_addr; flags timeout; timeout 1h; }
  chain output {
    type filter hook output priority filter; policy drop;
    ct state established,related accept
    tcp dport { ${DENIED_PORTS.join(', ')} } counter drop
    ${opened.length ? `ip daddr { ${opened.join(', ')} } accept` : ''}
    ip daddr { ${DENIED.map(([range]) => range).join(', ')} } counter drop
    ${policy.names.length ? 'ip daddr @allowed accept' : 'meta nfproto ipv4 accept'}
    counter drop
  }
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
  }
}`
}

/** Rules of this machine for the cable: nothing for the machine itself, and outwards what the policy lets pass. */
export function machineRules(name: string, cable: string, link: string, policy: EgressPolicy) {
  const opened = policy.opened.map(formatRange)
  return `
table inet ${name} {
  chain input {
    type filter hook input priority filter; policy accept;
    iifname "${cable}" ct state established,related accept
    iifname "${cable}" counter drop
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    oifname "${cable}" ct state established,related accept
    oifname "${cable}" counter drop
    ${opened.length ? `iifname "${cable}" ip daddr { ${opened.join(', ')} } accept` : ''}
    iifname "${cable}" ip daddr { ${DENIED.map(([range]) => range).join(', ')} } counter drop
    iifname "${cable}" meta nfproto ipv4 accept
    iifname "${cable}" counter drop
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr ${link} masquerade
  }
}`
}

/** Says by being there that this machine forwarded nothing before, and sees to it that it still does so for relays only. */
const FORWARDING_TABLE = `${PREFIX}-forwarding`
const FORWARDING_RULES = `
table inet ${FORWARDING_TABLE} {
  chain forward {
    type filter hook forward priority filter; policy drop;
    iifname "${PREFIX}*" accept
    oifname "${PREFIX}*" accept
  }
}`

export class EgressNamespace {
  private constructor(
    readonly name: string,
    readonly cable: string,
  ) {}

  /** Makes it, with all its rules before the cable is up. Fails with `EgressError` and leaves nothing behind. */
  static create(policy: EgressPolicy): EgressNamespace {
    if (process.platform !== 'linux') throw new EgressError(`${NEEDS}: this is ${process.platform}.`)
    if (process.getuid?.() !== 0) throw new EgressError(`${NEEDS}: this is not root.`)
    for (const [tool, ...args] of [
      ['ip', '-V'],
      ['nft', '--version'],
      ['passt', '--version'],
      ['perl', '-v'],
    ] as const)
      try {
        execFileSync(tool, args, { stdio: 'ignore' })
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw new EgressError(`${NEEDS}: there is no ${tool}.`)
      }
    removeAbandoned()
    const made = new EgressNamespace(`${PREFIX}-${process.pid}`, `${PREFIX}${process.pid}`)
    try {
      made.#build(policy)
    } catch (error) {
      made.remove()
      const detail = (error as { stderr?: Buffer }).stderr?.toString().trim() || (error as Error).message
      throw new EgressError(`${NEEDS}. ${detail}`)
    }
    return made
  }

  #build(policy: EgressPolicy) {
    const { name, cable } = this
    const first = CABLES + (process.pid % 16384) * 4
    const [here, there] = [formatIp(first + 1), formatIp(first + 2)]
    const inside = ['-n', name]
    ip('netns', 'add', name)
    // passt runs as nobody and sends pings by a socket that by default nobody may have.
    const settings = 'echo 0 2147483647 >ping_group_range; echo 1 >../ipv6/conf/all/disable_ipv6'
    ip('netns', 'exec', name, 'sh', '-c', `cd /proc/sys/net/ipv4; ${settings}`)
    nft(namespaceRules(policy), name)
    nft(machineRules(name, cable, `${formatIp(first)}/30`, policy))
    ip('link', 'add', cable, 'type', 'veth', 'peer', 'name', 'outside', 'netns', name)
    ip('addr', 'add', `${here}/30`, 'dev', cable)
    ip('link', 'set', cable, 'up')
    ip(...inside, 'addr', 'add', `${there}/30`, 'dev', 'outside')
    ip(...inside, 'link', 'set', 'outside', 'up')
    ip(...inside, 'route', 'add', 'default', 'via', here)
    if (readFileSync(FORWARDING, 'utf8').trim() === '1') return
    attempt(() => execFileSync('nft', ['delete', 'table', 'inet', FORWARDING_TABLE], { stdio: 'ignore' }))
    nft(FORWARDING_RULES)
    writeFileSync(FORWARDING, '1')
  }

  /** Lets packets pass to an address of an allowed name. */
  async allow(address: string) {
    const element = `{ ${address} timeout 1h }`
    await run('ip', ['netns', 'exec', this.name, 'nft', 'add', 'element', 'inet', 'egress', 'allowed', element])
  }

  /** The last relay of this machine leaves its forwarding as the first one found it. */
  remove() {
    removeByName(this.name, this.cable)
    if (namespaces().length > 0) return
    attempt(() => {
      execFileSync('nft', ['delete', 'table', 'inet', FORWARDING_TABLE], { stdio: 'ignore' })
      writeFileSync(FORWARDING, '0')
    })
  }
}

const ip = (...args: string[]) => execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] })

function nft(rules: string, namespace?: string) {
  const command = namespace === undefined ? ['nft', '-f', '-'] : ['ip', 'netns', 'exec', namespace, 'nft', '-f', '-']
  execFileSync(command[0]!, command.slice(1), { input: rules.replaceAll(';', '\n'), stdio: ['pipe', 'ignore', 'pipe'] })
}

function attempt(action: () => void) {
  try {
    action()
  } catch {
    // What is to be removed was not there.
  }
}

function removeByName(name: string, cable: string) {
  attempt(() => ip('link', 'del', cable))
  attempt(() => ip('netns', 'del', name))
  attempt(() => execFileSync('nft', ['delete', 'table', 'inet', name], { stdio: 'ignore' }))
}

/** What relays of this machine made, by namespaces and tables, and which process each was. */
function namespaces() {
  const listed = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })
  const tables = execFileSync('nft', ['list', 'tables'], { encoding: 'utf8' })
  const pids = `${listed}${tables}`.matchAll(new RegExp(`\\b${PREFIX}-(\\d+)\\b`, 'g'))
  return [...new Set(Array.from(pids, ([, pid]) => Number(pid)))].map(pid => ({ name: `${PREFIX}-${pid}`, pid }))
}

/** A relay that was killed could not clean up behind itself. */
function removeAbandoned() {
  for (const { name, pid } of namespaces())
    if (pid === process.pid || !isAlive(pid)) removeByName(name, `${PREFIX}${pid}`)
}

function isAlive(pid: number) {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
