/** Real guests on the links they can be plugged into. */

import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { boot, type Guest } from './boot.ts'

const MINUTES = 60_000

/** What a command says, which has to succeed. */
async function say(guest: Guest, command: string) {
  const { status, stdout, stderr } = await guest.exec(command)
  expect(status, `${command}: ${stdout}${stderr}`).toBe(0)
  return stdout
}
/** Asks until the answer is right. */
async function until(guest: Guest, command: string) {
  await say(guest, `for i in $(seq 100); do ${command} && exit 0; sleep 0.1; done; exit 1`)
}

test('a guest on a LAN gets an address and pings; it sees its plug pulled, and put back', {
  timeout: 4 * MINUTES,
}, async () => {
  const guest = await boot({ exec: true, net: 'lan:plug' })
  await say(guest, 'ip link set eth0 up && udhcpc -i eth0 -n -q -t 10 2>&1')
  const [nic] = guest.machine.nics
  nic!.setPlugged(false)
  await until(guest, 'ip link show eth0 | grep -q NO-CARRIER')
  expect((await guest.exec('ping -c 1 -W 1 10.0.2.1')).status).not.toBe(0)
  nic!.setPlugged(true)
  await until(guest, 'ip link show eth0 | grep -q LOWER_UP')
  expect(await say(guest, 'ping -c 3 10.0.2.1')).toContain('3 packets received')
})

test('a guest with two cards is on two LANs: addresses, pings and plugs of each are its own', {
  timeout: 4 * MINUTES,
}, async () => {
  const machine = fileURLToPath(new URL('../../public/machines/network.json', import.meta.url))
  const guest = await boot({ machine, exec: true, net: 'lan:second' })
  const [first, second] = guest.machine.nics
  await say(guest, 'ip link set eth1 up && udhcpc -i eth1 -n -q -t 10 2>&1')
  await until(guest, 'ip addr show eth0 | grep -q "inet 10.0.2."')
  for (const [card, { status }] of [first!, second!].entries())
    expect(await say(guest, `cat /sys/class/net/eth${card}/address`)).toBe(`${status!.mac}\n`)
  for (const card of ['eth0', 'eth1']) await say(guest, `ping -c 1 -I ${card} 10.0.2.1`)
  first!.setPlugged(false)
  await until(guest, 'ip link show eth0 | grep -q NO-CARRIER')
  const sent = second!.status!.counters.txPackets
  await say(guest, 'ping -c 1 -I eth1 10.0.2.1')
  expect(second!.status!.counters.txPackets).toBeGreaterThan(sent)
  expect((await guest.exec('ping -c 1 -W 1 -I eth0 10.0.2.1')).status).not.toBe(0)
})
