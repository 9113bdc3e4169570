import { beforeEach, describe, expect, test } from 'vitest'
import { arpReply, arpRequest, dhcpFrame, GATEWAY, pingFrame, udpFrame } from '../../test/relay/station.ts'
import { DHCP } from './dhcp.ts'
import { BROADCAST_MAC, ETHERTYPE, writeEthernet } from './ethernet.ts'
import { parseIp } from './ipv4.ts'
import { DEFAULT_LAN, LanServices } from './lan-services.ts'
import { PortGuard } from './port-guard.ts'

const A = { mac: 0x020000000001, ip: parseIp('10.0.2.5')! }
const B = { mac: 0x020000000002, ip: parseIp('10.0.2.6')! }
const raw = (type: number, length = 46) => writeEthernet(BROADCAST_MAC, A.mac, type, new Uint8Array(length))

let services: LanServices
let guard: PortGuard
beforeEach(() => {
  services = new LanServices(DEFAULT_LAN, { now: () => 0 })
  guard = new PortGuard(services, A.mac)
  services.admit(B.ip, B.mac)
})

describe('what a station may send', () => {
  test('pings, ARP and DHCP in its own name', () => {
    expect(guard.refuse(dhcpFrame({ type: DHCP.DISCOVER, mac: A.mac }))).toBeUndefined()
    expect(guard.refuse(arpRequest(A.mac, 0, A.ip))).toBeUndefined()
    expect(guard.refuse(arpRequest(A.mac, A.ip, B.ip))).toBeUndefined()
    expect(guard.refuse(pingFrame(A, B))).toBeUndefined()
    expect(guard.refuse(pingFrame(A, B, 1472))).toBeUndefined()
  })

  test('from the MAC address of its first frame, if nobody else has it', () => {
    guard = new PortGuard(services, undefined, mac => mac !== B.mac)
    expect(guard.refuse(pingFrame(B, A))).toBe('mac')
    expect(guard.refuse(pingFrame(A, B))).toBeUndefined()
    expect(guard.mac).toBe(A.mac)
    expect(guard.refuse(pingFrame({ ...A, mac: A.mac + 1 }, B))).toBe('mac')
  })
})

describe('what is refused', () => {
  test('another MAC address, the gateway’s, a group’s', () => {
    guard = new PortGuard(services, undefined)
    expect(guard.refuse(pingFrame({ ...A, mac: GATEWAY.mac }, B))).toBe('mac')
    expect(guard.refuse(pingFrame({ ...A, mac: BROADCAST_MAC }, B))).toBe('mac')
    expect(new PortGuard(services, B.mac).refuse(pingFrame(A, B))).toBe('mac')
  })

  test('ARP for the address of another station or of the gateway, or in the name of another MAC', () => {
    expect(guard.refuse(arpReply(A.mac, B.ip, BROADCAST_MAC, 0))).toBe('arp')
    expect(guard.refuse(arpReply(A.mac, GATEWAY.ip, B.mac, B.ip))).toBe('arp')
    const lie = arpReply(A.mac, A.ip, B.mac, B.ip)
    lie[14 + 8 + 5] = 0x77
    expect(guard.refuse(lie)).toBe('arp')
  })

  test('IPv4 from an address of somebody else, of the gateway, of outside', () => {
    for (const ip of [B.ip, GATEWAY.ip, parseIp('8.8.8.8')!, 0])
      expect(guard.refuse(pingFrame({ ...A, ip }, B))).toBe('address')
  })

  test('answers of a DHCP server, and DHCP for another station', () => {
    const reply = udpFrame({ ...A, port: 67 }, { ...B, port: 68 }, new Uint8Array(300))
    expect(guard.refuse(reply)).toBe('dhcp')
    expect(guard.refuse(dhcpFrame({ type: DHCP.DISCOVER, mac: A.mac, clientMac: B.mac }))).toBe('dhcp')
    const theft = dhcpFrame({ type: DHCP.RELEASE, mac: A.mac, clientMac: B.mac, clientIp: A.ip })
    expect(guard.refuse(theft)).toBe('dhcp')
  })

  test('runts and giants', () => {
    for (const length of [0, 1, 13]) expect(guard.refuse(raw(ETHERTYPE.IPV4).subarray(0, length))).toBe('runt')
    expect(guard.refuse(raw(ETHERTYPE.IPV4, 4))).toBe('runt')
    expect(guard.refuse(raw(ETHERTYPE.ARP, 27))).toBe('runt')
    expect(guard.refuse(raw(ETHERTYPE.IPV4, 1501))).toBe('oversize')
  })

  test('VLAN tags, IPv6, spanning tree and anything unheard of', () => {
    for (const type of [ETHERTYPE.VLAN, 0x88a8, 0x0026, 0x88cc, 0x1234])
      expect(guard.refuse(raw(type))).toBe('ethertype')
    expect(guard.refuse(raw(ETHERTYPE.IPV6))).toBe('ipv6')
  })
})
