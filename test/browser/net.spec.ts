/** Networks from end to end: real guests in real tabs, with a relay and without any server. */

import { execFileSync } from 'node:child_process'
import type { Page } from '@playwright/test'
import { initrdWithIperf } from '../net/iperf.ts'
import { HTTP_PORT, MB, makeInternet, PUBLIC, pattern, whyNot } from '../relay/internet.ts'
import { RelayProcess } from '../relay/process.ts'
import { boot, outputOf, run } from './machine.ts'
import { type Elsewhere, expect, test } from './site.ts'

/** The address of a machine with one card, plugged into this. */
function machineWith(net: object, elsewhere: Elsewhere, site: string, initrd = `${site}guest/initramfs.cpio.zst`) {
  const devices = [{ type: 'console' }, { type: 'entropy' }, { type: 'net', ...net }]
  const guest = { kernel: `${site}guest/bzImage`, initrd, cmdline: 'quiet' }
  const document = JSON.stringify({ ...guest, memory: 128, devices })
  const url = elsewhere.on('/net.json', (_, response) =>
    response.writeHead(200, { 'Access-Control-Allow-Origin': '*' }).end(document),
  )
  return `${site}?machine=${url}`
}

/** By DHCP, under a name; gives the address. */
async function obtainAddress(page: Page, name: string) {
  await outputOf(page, `ip link set eth0 up && udhcpc -i eth0 -n -q -t 20 -x hostname:${name} > /tmp/dhcp 2>&1`)
  return /inet (10\.0\.2\.\d+)\/24/.exec(await outputOf(page, 'ip addr show eth0'))?.[1]
}

/** Repeats a command in the guest until it succeeds, once; for how many seconds, as its own clock says. */
async function until(page: Page, command: string, seconds: number) {
  const now = 'cut -d. -f1 /proc/uptime'
  const { output } = await run(
    page,
    `b=$(${now}); while [ $(($(${now}) - b)) -le ${seconds} ]; do if { ${command}; } > /dev/null 2>&1; then echo took $(($(${now}) - b)); break; fi; sleep 0.1; done`,
  )
  const took = /took (\d+)/.exec(output)?.[1]
  expect(took, `${command} did not succeed in ${seconds} s`).toBeDefined()
  return Number(took)
}

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = (byte >>> 1) ^ (byte & 1 ? 0xedb88320 : 0)
  return byte
})
/** The CRC-32 of gzip, which a guest works out many times faster than a hash. */
function crc32(bytes: Uint8Array, before = 0) {
  let crc = ~before
  for (const byte of bytes) crc = crcTable[(crc ^ byte) & 255]! ^ (crc >>> 8)
  return ~crc >>> 0
}

const reason = whyNot('ip', 'nft', 'passt', 'tshark')
if (reason) console.warn(`Guests in tabs behind a relay are NOT tested: ${reason}.`)

test('through a relay: address, names, ping, 100 MB, a capture, the plug, and a relay that comes back', async ({
  page,
  site,
  elsewhere,
}) => {
  test.skip(reason !== undefined, reason)
  test.setTimeout(600_000)
  page.setDefaultTimeout(30_000)
  const internet = await makeInternet({ 'good.example': [PUBLIC] })
  const flags = ['--egress', '--dns', PUBLIC]
  let relay = await RelayProcess.start(flags)
  try {
    await boot(page, machineWith({ link: 'relay', url: relay.url }, elsewhere, site))
    expect(await obtainAddress(page, 'tab')).toBeDefined()
    expect(await outputOf(page, 'nslookup good.example')).toContain(PUBLIC)
    expect(await outputOf(page, 'ping -c 3 good.example')).toContain('3 packets received')

    await page.getByRole('button', { name: 'Panels', exact: true }).click()
    await page.getByRole('tab', { name: 'Network' }).click()
    const panel = page.locator('network-panel')
    await panel.getByRole('button', { name: 'Capture for Wireshark' }).click()
    const stop = panel.getByRole('button', { name: 'Stop and save the capture' })
    await expect(stop).toBeVisible()
    await page.locator('ringlet-terminal').click()
    await outputOf(page, `ping -c 2 10.0.2.1 && wget -q -O /dev/null http://good.example:${HTTP_PORT}/bytes/${MB}`)
    const saved = page.waitForEvent('download')
    await stop.click()
    const capture = await (await saved).path()
    const tshark = (filter: string) =>
      execFileSync(
        'tshark',
        ['-r', capture, '-o', 'ip.check_checksum:TRUE', '-o', 'tcp.check_checksum:TRUE', '-Y', filter],
        {
          ...{ encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
        },
      )
    expect(tshark('_ws.malformed || ip.checksum.status == 0 || tcp.checksum.status == 0')).toBe('')
    expect(tshark('icmp.type == 0').trim().split('\n').length).toBe(2)
    expect(tshark('tcp.len > 0').trim().split('\n').length).toBeGreaterThan(MB / 1460)

    await page.locator('ringlet-terminal').click()
    let sum = 0
    for (let at = 0; at < 100 * MB; at += MB) sum = crc32(pattern(at, MB), sum)
    const got = await outputOf(page, `wget -q -O - http://good.example:${HTTP_PORT}/bytes/${100 * MB} | crc32`, 300_000)
    expect(got.trim()).toBe(sum.toString(16).padStart(8, '0'))

    const plug = panel.getByRole('checkbox', { name: 'Cable plugged in' })
    await plug.uncheck()
    await page.locator('ringlet-terminal').click()
    await until(page, 'ip link show eth0 | grep NO-CARRIER', 10)
    expect((await run(page, 'ping -c 1 -W 1 10.0.2.1')).status).not.toBe(0)
    await plug.check()
    await page.locator('ringlet-terminal').click()
    await until(page, 'ip link show eth0 | grep LOWER_UP', 10)
    await until(page, 'ping -c 1 -W 1 10.0.2.1', 10)

    await relay.kill()
    await until(page, 'ip link show eth0 | grep NO-CARRIER', 10)
    relay = await RelayProcess.start(flags, relay.port)
    // Not before the link is back: a resolver that asked into the void asks again after 5 s only, relay or not.
    const healed = await until(page, 'ip link show eth0 | grep LOWER_UP && ping -c 1 -W 1 good.example', 20)
    expect(healed).toBeLessThanOrEqual(5)
  } finally {
    await relay.close()
    await internet.close()
  }
})

test('two tabs without a server: addresses, names, ping, and a download from one to the other', async ({
  page,
  context,
  site,
  elsewhere,
}) => {
  const other = await context.newPage()
  const address = machineWith({ link: 'lan', segment: 'tabs' }, elsewhere, site)
  for (const tab of [page, other]) await boot(tab, address)
  const left = await obtainAddress(page, 'left')
  const right = await obtainAddress(other, 'right')
  expect(left).toBeDefined()
  expect(right).toBeDefined()
  expect(right).not.toBe(left)
  expect(await outputOf(page, 'ping -c 3 right.lan')).toContain(`(${right})`)
  expect(await outputOf(other, 'ping -c 3 left.lan')).toContain('3 packets received')

  const make = 'for i in 1 2 3 4; do cat /bin/busybox; done > /tmp/file; httpd -p 80 -h /tmp; crc32 < /tmp/file'
  const made = await outputOf(other, make)
  const got = await outputOf(page, 'wget -q -O - http://right.lan/file | crc32', 120_000)
  expect(got).toBe(made)

  await other.close()
  await until(page, '! ping -c 1 -W 1 right.lan', 10)
})

test('two tabs without a server: iperf3 from one to the other, and back', async ({
  page,
  context,
  site,
  elsewhere,
}) => {
  const archive = await initrdWithIperf().catch((error: Error) => error)
  if (archive instanceof Error) console.warn(`iperf3 between two tabs is NOT tested: ${archive.message}`)
  test.skip(archive instanceof Error, 'there is no iperf3 for the guests')
  const initrd = elsewhere.on('/initrd-iperf3.cpio', (_, response) =>
    response.writeHead(200, { 'Access-Control-Allow-Origin': '*' }).end(archive),
  )
  const other = await context.newPage()
  const address = machineWith({ link: 'lan', segment: 'iperf3' }, elsewhere, site, initrd)
  for (const tab of [page, other]) await boot(tab, address)
  await obtainAddress(page, 'left')
  await obtainAddress(other, 'right')
  await outputOf(other, 'iperf3 -s -D')
  for (const flags of ['', '-R']) {
    const said = await outputOf(page, `iperf3 -c right.lan -n 20M ${flags}`)
    expect(said).toMatch(/20\.\d MBytes .* sender/)
    expect(said).toMatch(/ (19|20)\.\d MBytes .* receiver/)
  }
})
