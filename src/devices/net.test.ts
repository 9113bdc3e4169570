import { describe, expect, test } from 'vitest'
import { F, frameTo, MAC, nic, TestTimer } from '../../test/net/nic.ts'
import { tcpFrame } from '../../test/net/tcp-frame.ts'
import { variants } from '../driver/testing.ts'
import { cutSegments, finished, TCP } from '../net/tcp.ts'
import { NetDevice } from './net.ts'
import { cable } from './net-backend.ts'
import { Command, Control } from './net-control.ts'
import { Config } from './net-spec.ts'

const { RX, MAC: ADDRESS, VLAN, ANNOUNCE, MQ, GUEST_OFFLOADS, NOTF_COAL } = Control.fields.class.bits
const { LINK_UP, ANNOUNCE: ASKED } = Config.fields.status.bits
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const GUEST_TSO = [F.GUEST_TSO4, F.GUEST_TSO6, F.GUEST_ECN]
const le16 = (value: number) => Uint8Array.of(value & 255, value >> 8)
const le32 = (value: number) => Uint8Array.from([0, 8, 16, 24], shift => (value >>> shift) & 255)
const macBytes = (mac: number) => Uint8Array.from({ length: 6 }, (_, i) => Math.floor(mac / 2 ** (40 - 8 * i)) % 256)
const tables = (...lists: number[][]) =>
  Uint8Array.from(lists.flatMap(macs => [...le32(macs.length), ...macs.flatMap(mac => [...macBytes(mac)])]))
const BROADCAST = 2 ** 48 - 1
const GROUP = 0x01005e000001

describe.each(variants)('$title', ({ transport, packed }) => {
  const legacy = transport.endsWith('legacy')
  const make = (options: Parameters<typeof nic>[0] = {}) => nic({ transport, packed, ...options })

  test('a frame goes out within the notification, a frame comes in by an interrupt', () => {
    const { machine, wire, port, send, give, received, counters } = make()
    expect(send(frameTo(2)).used).toBe(true)
    expect(wire.map(({ frame }) => hex(frame))).toEqual([hex(frameTo(2))])
    const buffer = give(1600)
    expect(buffer.used).toBe(false)
    port.receive(frameTo(MAC, 100))
    expect(hex(received(buffer)!.frame)).toBe(hex(frameTo(MAC, 100)))
    expect(machine.interrupts).toBeGreaterThan(0)
    expect(counters).toMatchObject({ txPackets: 1, txBytes: 60, rxPackets: 1, rxBytes: 100 })
  })

  test('R61: the MTU lies between 68 and 65535, and binds both directions', () => {
    for (const mtu of [67, 65536]) expect(() => make({ net: { mtu } })).toThrow('MTU')
    const { config, port, give, send, wire, received, counters } = make({ net: { mtu: 1000 } })
    expect(config().mtu).toBe(1000)
    const buffer = give(4096)
    port.receive(frameTo(MAC, 1019))
    expect(buffer.used).toBe(false)
    expect(counters.rxTooLong).toBe(1)
    port.receive(frameTo(MAC, 1014))
    expect(received(buffer)!.frame.length).toBe(1014)
    send(frameTo(2, 1014))
    send(frameTo(2, 1019))
    expect(wire.map(({ frame }) => frame.length)).toEqual([1014])
    expect(counters.txMalformed).toBe(1)
  })

  test('R61: without the MTU feature a longer frame is delivered, if there is room for it', () => {
    const { port, give, received } = make({ net: { mtu: 1000 }, without: [F.MTU] })
    const buffer = give(4096)
    port.receive(frameTo(MAC, 2000))
    expect(received(buffer)!.frame.length).toBe(2000)
  })

  test('R62: there are 1 to 32768 pairs of queues', () => {
    for (const pairs of [0, 0x8001]) expect(() => make({ net: { pairs } })).toThrow('pairs')
    expect(make({ net: { pairs: 4 } }).config().max_virtqueue_pairs).toBe(4)
  })

  test('R63: RSS is not offered, so the device says nothing of keys and tables', () => {
    const { device } = make()
    expect(device.offers).not.toContain(60)
    expect(device.offers).not.toContain(57)
  })

  test('R64: unknown flags mean nothing, nor do checksum fields without NEEDS_CSUM, nor is hdr_len trusted', () => {
    const { send, wire, counters } = make()
    send(frameTo(2), { flags: 0xfe, csum_start: 65535, csum_offset: 65535, hdr_len: 65535, num_buffers: 99 })
    expect(wire.map(({ frame }) => hex(frame))).toEqual([hex(frameTo(2))])
    expect(counters.txMalformed).toBe(0)
  })

  test('R64: a checksum is put in for the driver', () => {
    const { send, wire } = make()
    const { frame, offload } = tcpFrame({ payload: new Uint8Array(99).fill(5) })
    send(frame, { flags: 1, csum_start: offload.start, csum_offset: offload.offset })
    expect(hex(wire[0]!.frame)).toBe(hex(finished(frame, offload)![0]!))
  })

  test('large packets are cut for a backend that wants finished frames, and go whole to one that does not', () => {
    const { frame, offload } = tcpFrame({ payload: new Uint8Array(9000) })
    const header = { flags: 1, gso_type: 1, gso_size: 1448, csum_start: offload.start, csum_offset: offload.offset }
    const cut = make()
    cut.send(frame, header)
    expect(cut.wire.map(({ frame }) => hex(frame))).toEqual(cutSegments(frame, { ...offload, segment: 1448 })!.map(hex))
    const whole = make({ offloads: true })
    whole.send(frame, header)
    expect(whole.wire).toEqual([{ frame, offload: { ...offload, segment: 1448 } }])
  })

  test('R65: num_buffers counts the buffers of a packet', () => {
    const { port, give, received } = make()
    const buffers = [give(100), give(100), give(100), give(100)]
    port.receive(frameTo(MAC, 250))
    expect(received(buffers[0]!)!.header.num_buffers).toBe(3)
    port.receive(frameTo(MAC, 60))
    expect(received(buffers[3]!)!.header.num_buffers).toBe(1)
  })
  test.skipIf(legacy)('R65: without MRG_RXBUF num_buffers is 1', () => {
    const { port, give, received } = make({ without: [F.MRG_RXBUF] })
    const buffer = give(1600)
    port.receive(frameTo(MAC))
    expect(received(buffer)!.header.num_buffers).toBe(1)
  })

  test('R66: all merged buffers but the last are filled', () => {
    const { port, give, header } = make()
    const buffers = [give([30, 50]), give(90), give(200)]
    port.receive(frameTo(MAC, 200))
    expect(buffers.map(buffer => buffer.used && buffer.written)).toEqual([80, 90, 200 + header - 170])
    expect(hex(Buffer.concat(buffers.map(b => b.input.subarray(0, b.written))).subarray(header))).toBe(
      hex(frameTo(MAC, 200)),
    )
  })

  test('R67: a packet’s buffers become used together, once there are enough of them', () => {
    const { machine, port, give } = make()
    const first = give(100)
    port.receive(frameTo(MAC, 250))
    expect(first.used).toBe(false)
    const second = give(100)
    expect([first.used, second.used]).toEqual([false, false])
    const before = machine.interrupts
    const third = give(100)
    expect([first.used, second.used, third.used]).toEqual([true, true, true])
    expect(machine.interrupts).toBe(before + 1)
  })

  test('R68: without GUEST_CSUM flags are 0, and an unfinished frame is finished first', () => {
    const { port, give, received } = make({ without: [F.GUEST_CSUM, ...GUEST_TSO] })
    const { frame, offload } = tcpFrame({ payload: new Uint8Array(50) })
    for (const given of [undefined, offload]) {
      const buffer = give(1600)
      port.receive(given ? frame : finished(frame, offload)![0]!, given)
      expect(received(buffer)!.header).toMatchObject({ flags: 0, gso_type: 0, csum_start: 0 })
      expect(hex(received(buffer)!.frame)).toBe(hex(finished(frame, offload)![0]!))
    }
  })
  test('R68: with it the device says of a checksum that it is right, or still to be made', () => {
    const { port, give, received } = make()
    const { frame, offload } = tcpFrame({ payload: new Uint8Array(50) })
    const buffers = [give(1600), give(1600), give(1600)]
    port.receive(finished(frame, offload)![0]!)
    port.receive(frame, offload)
    port.receive(frame)
    const headers = buffers.map(buffer => received(buffer)!.header)
    expect(headers.map(({ flags }) => flags)).toEqual([2, 1, 0])
    expect(headers[1]).toMatchObject({ csum_start: offload.start, csum_offset: offload.offset, gso_type: 0 })
  })

  test('R69: a large packet comes whole only to a driver that takes such', () => {
    const { frame, offload } = tcpFrame({ payload: new Uint8Array(5000).fill(9) })
    const large = { ...offload, segment: 1448 }
    const willing = make()
    const buffer = willing.give(8000)
    willing.port.receive(frame, large)
    expect(willing.received(buffer)!.header).toMatchObject({ flags: 1, gso_type: 1, gso_size: 1448, hdr_len: 54 })
    expect(hex(willing.received(buffer)!.frame)).toBe(hex(frame))
    const plain = make({ without: GUEST_TSO })
    const buffers = [1, 2, 3, 4].map(() => plain.give(1600))
    plain.port.receive(frame, large)
    expect(buffers.map(buffer => hex(plain.received(buffer)!.frame))).toEqual(cutSegments(frame, large)!.map(hex))
    expect(plain.received(buffers[0]!)!.header).toMatchObject({ gso_type: 0, gso_size: 0 })
  })
  test('R69: ECN on a large packet is only for a driver that negotiated it', () => {
    const { frame, offload } = tcpFrame({ payload: new Uint8Array(2000), flags: TCP.ACK | TCP.CWR })
    const large = { ...offload, segment: 1448, ecn: true }
    const [willing, plain] = [make(), make({ without: [F.GUEST_ECN] })]
    const buffers = [willing.give(4000), plain.give(4000)]
    willing.port.receive(frame, large)
    plain.port.receive(frame, large)
    expect(willing.received(buffers[0]!)!.header.gso_type).toBe(0x81)
    expect(plain.received(buffers[1]!)!.header.gso_type).toBe(0)
  })
  test('R69: segments that follow one another reach the driver as one packet', () => {
    const soon: (() => void)[] = []
    const { port, give, received, counters } = make({ net: { soon: work => void soon.push(work) } })
    const { frame, offload } = tcpFrame({ payload: new Uint8Array(5000).fill(3) })
    const buffer = give(8000)
    for (const segment of cutSegments(frame, { ...offload, segment: 1448 })!) port.receive(segment)
    expect([soon.length, buffer.used]).toEqual([1, false])
    soon[0]!()
    expect(received(buffer)!.header).toMatchObject({ flags: 1, gso_type: 1, gso_size: 1448 })
    expect(hex(received(buffer)!.frame)).toBe(hex(frame))
    expect(counters.rxPackets).toBe(1)
  })

  describe('R70: the receive modes', () => {
    const reached = (prepare: (n: ReturnType<typeof make>) => void, destination: number) => {
      const made = make()
      expect(made.command(RX, Command.RX.PROMISC, Uint8Array.of(0))).toBe(0)
      prepare(made)
      const buffer = made.give(1600)
      made.port.receive(frameTo(destination))
      return buffer.used
    }
    const mode = (command: number) => (n: ReturnType<typeof make>) =>
      void expect(n.command(RX, command, Uint8Array.of(1))).toBe(0)
    const { PROMISC, ALLMULTI, ALLUNI, NOMULTI, NOUNI, NOBCAST } = Command.RX
    test.each([
      ['its own address', () => {}, MAC, true],
      ['another address', () => {}, 0x020000000007, false],
      ['another address, promiscuous', mode(PROMISC), 0x020000000007, true],
      ['another address, ALLUNI', mode(ALLUNI), 0x020000000007, true],
      ['its own address, NOUNI', mode(NOUNI), MAC, false],
      ['a group', () => {}, GROUP, false],
      ['a group, ALLMULTI', mode(ALLMULTI), GROUP, true],
      ['a group, NOMULTI', mode(NOMULTI), GROUP, false],
      ['everybody', () => {}, BROADCAST, true],
      ['everybody, NOBCAST', mode(NOBCAST), BROADCAST, false],
    ])('%s', (_, prepare, destination, expected) => {
      expect(reached(prepare, destination)).toBe(expected)
    })
    test('until the driver says so, everything is delivered', () => {
      const { give, port } = make()
      const buffer = give(1600)
      port.receive(frameTo(0x020000000007))
      expect(buffer.used).toBe(true)
    })
  })

  test('R71: the MAC table is used once set, and is empty again after a reset', () => {
    const n = make()
    const other = 0x020000000044
    n.command(RX, Command.RX.PROMISC, Uint8Array.of(0))
    expect(n.command(ADDRESS, Command.MAC.TABLE_SET, tables([other], [GROUP]))).toBe(0)
    expect([other, GROUP, GROUP + 1].map(mac => n.takes(frameTo(mac)))).toEqual([true, true, false])
    n.machine.restart()
    n.command(RX, Command.RX.PROMISC, Uint8Array.of(0))
    expect([other, GROUP].map(mac => n.takes(frameTo(mac)))).toEqual([false, false])
  })
  test('R71: more addresses than the table holds are all let in', () => {
    const { command, give, port } = make()
    const many = Array.from({ length: 300 }, (_, i) => 0x020000010000 + i)
    command(RX, Command.RX.PROMISC, Uint8Array.of(0))
    expect(command(ADDRESS, Command.MAC.TABLE_SET, tables(many, []))).toBe(0)
    const buffer = give(1600)
    port.receive(frameTo(many[299]!))
    expect(buffer.used).toBe(true)
  })
  test('R71: a new address is in the configuration before its command is used', () => {
    const { command, config, give, port, machine } = make()
    command(RX, Command.RX.PROMISC, Uint8Array.of(0))
    expect(command(ADDRESS, Command.MAC.ADDR_SET, macBytes(0x0200000000aa))).toBe(0)
    expect(config().mac).toBe(0x0200000000aa)
    const buffer = give(1600)
    port.receive(frameTo(0x0200000000aa))
    expect(buffer.used).toBe(true)
    machine.restart()
    expect(config().mac).toBe(MAC)
  })
  test('only a legacy driver may write its address into the configuration', () => {
    const { machine, config } = make()
    machine.setConfig(5, 1, 0x77)
    expect(config().mac).toBe(legacy ? 0x020000000077 : MAC)
  })

  test('R72: without CTRL_VLAN every VLAN is received, with it those listed', () => {
    const reached = (n: ReturnType<typeof make>, vlan?: number) => n.takes(frameTo(MAC, 60, vlan))
    const open = make({ without: [F.CTRL_VLAN] })
    open.command(RX, Command.RX.PROMISC, Uint8Array.of(0))
    expect(reached(open, 7)).toBe(true)
    const closed = make()
    closed.command(RX, Command.RX.PROMISC, Uint8Array.of(0))
    expect([reached(closed), reached(closed, 7)]).toEqual([true, false])
    expect(closed.command(VLAN, Command.VLAN.ADD, le16(7))).toBe(0)
    expect([reached(closed, 7), reached(closed, 8)]).toEqual([true, false])
    expect(closed.command(VLAN, Command.VLAN.DEL, le16(7))).toBe(0)
    expect(reached(closed, 7)).toBe(false)
  })

  test('R73: a link that comes back asks the driver to announce itself, until it has', () => {
    const { device, config, command, machine, port } = make()
    expect(config().status).toBe(LINK_UP)
    device.setLink(false)
    machine.poll()
    expect([config().status, machine.configChanges]).toEqual([0, 1])
    port.link(false)
    device.setLink(true)
    expect(config().status).toBe(0)
    port.link(true)
    machine.poll()
    expect([config().status, machine.configChanges]).toEqual([LINK_UP | ASKED, 2])
    expect(command(ANNOUNCE, Command.ANNOUNCE.ACK, new Uint8Array())).toBe(0)
    expect(config().status).toBe(LINK_UP)
  })
  test('nothing passes while the link is down, in either direction', () => {
    const { device, send, give, port, wire, counters } = make()
    device.setLink(false)
    expect(send(frameTo(2)).used).toBe(true)
    const buffer = give(1600)
    port.receive(frameTo(MAC))
    expect([wire.length, buffer.used, counters.txDropped, counters.rxDown]).toEqual([0, false, 1, 1])
  })

  test('R74: only the first pair is used until the driver sets more, and none beyond those it set', () => {
    const { command, give, port, send, wire, machine } = make({ net: { pairs: 4 } })
    const frame = (to: number, from: number) => {
      const { frame: unfinished, offload } = tcpFrame({ payload: new Uint8Array(9), from, to })
      return finished(unfinished, offload)![0]!
    }
    const pairs = [0, 1, 2, 3]
    let buffers: ReturnType<typeof give>[][]
    const setUp = () => {
      buffers = pairs.map(pair => [give(1600, pair), give(1600, pair)])
    }
    const reached = () => {
      const before = buffers.map(own => own.filter(buffer => buffer.used).length)
      port.receive(frame(1, 2))
      return buffers.findIndex((own, pair) => own.filter(buffer => buffer.used).length > before[pair]!)
    }
    setUp()
    send(frame(2, 1), {}, 3)
    expect([reached(), wire.length]).toEqual([0, 0])
    expect(command(MQ, 0, le16(3))).toBe(0)
    send(frame(2, 1), {}, 2)
    expect([reached(), wire.length]).toEqual([2, 1])
    send(frame(2, 1), {}, 3)
    expect(wire.length).toBe(1)
    for (const wrong of [0, 5]) expect(command(MQ, 0, le16(wrong))).toBe(1)
    machine.restart()
    setUp()
    expect(reached()).toBe(0)
  })
  test('without MQ the control queue is the third, however many pairs there are', () => {
    const { machine } = make({ net: { pairs: 4 }, without: [F.MQ] })
    const sent = machine.send(2, [Uint8Array.of(RX, 0), Uint8Array.of(1)], 1)
    expect([sent.used, sent.input[0]]).toEqual([true, 0])
  })

  test('R75: the header has 10 bytes for a legacy driver without MRG_RXBUF, and else 12', () => {
    for (const without of [[], [F.MRG_RXBUF]]) {
      const { header, give, port, send, wire } = make({ without })
      expect(header).toBe(legacy && without.length > 0 ? 10 : 12)
      const buffer = give(1600)
      port.receive(frameTo(MAC, 77))
      expect(buffer.used && buffer.written).toBe(77 + header)
      send(frameTo(2, 77))
      expect(wire[0]!.frame.length).toBe(77)
    }
  })

  test('CTRL_GUEST_OFFLOADS turns offloads off and on, but none that were not negotiated', () => {
    const { command, give, port, received } = make({ without: [F.GUEST_ECN] })
    const bits = (...features: number[]) => {
      const value = features.reduce((sum, feature) => sum + 2 ** feature, 0)
      return Uint8Array.of(...le32(value), 0, 0, 0, 0)
    }
    const { frame, offload } = tcpFrame({ payload: new Uint8Array(50) })
    expect(command(GUEST_OFFLOADS, 0, bits())).toBe(0)
    const buffers = [give(1600), give(1600)]
    port.receive(frame, offload)
    expect(received(buffers[0]!)!.header.flags).toBe(0)
    expect(command(GUEST_OFFLOADS, 0, bits(F.GUEST_CSUM, F.GUEST_TSO4))).toBe(0)
    port.receive(frame, offload)
    expect(received(buffers[1]!)!.header.flags).toBe(1)
    expect(command(GUEST_OFFLOADS, 0, bits(F.GUEST_CSUM, F.GUEST_ECN))).toBe(1)
    expect(command(GUEST_OFFLOADS, 0, bits(F.MRG_RXBUF))).toBe(1)
  })

  test.skipIf(legacy)('NOTF_COAL: interrupts wait for so many packets, or so long', () => {
    const timer = new TestTimer()
    const { command, give, port, machine } = make({ net: { timer } })
    const coalesce = (packets: number, microseconds: number) =>
      command(NOTF_COAL, Command.NOTF_COAL.RX_SET, Uint8Array.of(...le32(packets), ...le32(microseconds)))
    expect(coalesce(3, 500)).toBe(0)
    const { line } = machine.plugged
    for (let i = 0; i < 8; i++) give(1600)
    port.receive(frameTo(MAC))
    port.receive(frameTo(MAC))
    expect(line.level).toBe(false)
    port.receive(frameTo(MAC))
    expect(line.level).toBe(true)
    machine.poll()
    port.receive(frameTo(MAC))
    expect([line.level, timer.due.map(({ milliseconds }) => milliseconds)]).toEqual([false, [0.5]])
    timer.run()
    expect(line.level).toBe(true)
    port.receive(frameTo(MAC))
    machine.restart()
    expect(timer.due).toEqual([])
  })
  test.skipIf(legacy)('SPEED_DUPLEX: the driver is told', () => {
    expect(make({ net: { speed: 2500 } }).config()).toMatchObject({ speed: 2500, duplex: 1 })
  })

  describe('what comes while there are no buffers', () => {
    test('is held, within bounds, and delivered when there are', () => {
      const { port, give, received, counters, device } = make({ net: { backlog: { packets: 3, bytes: 1000 } } })
      for (const length of [60, 61, 62, 63]) port.receive(frameTo(MAC, length))
      expect([device.backlog, counters.rxDropped]).toEqual([3, 1])
      const buffers = [give(1600), give(1600), give(1600), give(1600)]
      expect(buffers.map(buffer => received(buffer)?.frame.length)).toEqual([60, 61, 62, undefined])
      expect(counters).toMatchObject({ rxPackets: 3, rxDropped: 1 })
    })
    test('is bounded in bytes too', () => {
      const { port, counters } = make({ net: { backlog: { packets: 100, bytes: 1000 } } })
      for (let i = 0; i < 3; i++) port.receive(frameTo(MAC, 500))
      expect(counters.rxDropped).toBe(1)
    })
    test('is forgotten at a reset', () => {
      const { port, machine, give } = make()
      port.receive(frameTo(MAC))
      machine.restart()
      expect(give(1600).used).toBe(false)
    })
  })

  describe('case 35: a hostile driver', () => {
    test('a packet without its header stops the device', () => {
      const n = make()
      n.machine.send(1, new Uint8Array(n.header - 1))
      expect(n.needsReset).toBe(true)
      n.machine.restart()
      n.send(frameTo(2))
      expect([n.needsReset, n.wire.length]).toEqual([false, 1])
    })
    test.each([0, 1, 13])('a frame of %i bytes is dropped and counted', length => {
      const { send, wire, counters, needsReset } = make()
      expect(send(new Uint8Array(length)).used).toBe(true)
      expect([wire.length, counters.txMalformed, needsReset]).toEqual([0, 1, false])
    })
    test.each([
      ['csum_start out of the frame', { flags: 1, csum_start: 60, csum_offset: 0 }],
      ['csum_offset out of the frame', { flags: 1, csum_start: 34, csum_offset: 65535 }],
      ['gso_size 0', { flags: 1, gso_type: 1, gso_size: 0, csum_start: 34, csum_offset: 16 }],
      ['a gso_type that is none', { flags: 1, gso_type: 2, gso_size: 100, csum_start: 34, csum_offset: 16 }],
      ['a gso_type not offered', { flags: 1, gso_type: 3, gso_size: 100, csum_start: 34, csum_offset: 6 }],
      ['gso without NEEDS_CSUM', { gso_type: 1, gso_size: 100, csum_start: 34, csum_offset: 16 }],
      ['gso of what is not TCP', { flags: 1, gso_type: 1, gso_size: 10, csum_start: 34, csum_offset: 6 }],
      ['gso of what is not IP', { flags: 1, gso_type: 4, gso_size: 10, csum_start: 34, csum_offset: 16 }],
    ])('%s: dropped and counted', (_, header) => {
      const { send, wire, counters, needsReset } = make()
      expect(send(frameTo(2, 60), header).used).toBe(true)
      expect([wire.length, counters.txMalformed, needsReset]).toEqual([0, 1, false])
    })
    test('a frame longer than any is dropped before it is read', () => {
      const { machine, counters, wire, header } = make()
      const piece = new Uint8Array(60000)
      expect(machine.send(1, [new Uint8Array(header), piece, piece]).used).toBe(true)
      expect([wire.length, counters.txMalformed]).toEqual([0, 1])
    })
    test('a receive buffer without room for the header stops the device', () => {
      const n = make()
      n.give(n.header - 1)
      n.port.receive(frameTo(MAC))
      expect(n.needsReset).toBe(true)
    })
    test('a receive buffer to be read stops the device', () => {
      const n = make()
      n.machine.send(0, [new Uint8Array(10)], 1600)
      n.port.receive(frameTo(MAC))
      expect(n.needsReset).toBe(true)
    })
    test('a frame too long for all buffers of the ring is dropped, and the buffers serve the next', () => {
      const { port, give, received, counters } = make({ queueSize: 4, without: [28], net: { queueSize: 4 } })
      const buffers = [1, 2, 3, 4].map(() => give(50))
      port.receive(frameTo(MAC, 1500))
      expect(counters.rxTooLong).toBe(1)
      port.receive(frameTo(MAC, 30))
      expect(received(buffers[0]!)!.frame.length).toBe(30)
    })
    test('without MRG_RXBUF a frame too long for its buffer is dropped, and the buffer serves the next', () => {
      const { port, give, received, counters } = make({ without: [F.MRG_RXBUF, ...GUEST_TSO] })
      const buffer = give(100)
      port.receive(frameTo(MAC, 1500))
      expect([buffer.used, counters.rxTooLong]).toEqual([false, 1])
      port.receive(frameTo(MAC, 60))
      expect(received(buffer)!.frame.length).toBe(60)
    })
    test.each([
      ['an unknown class', [99, 0], 1],
      ['an unknown command', [RX, 77], 1],
      ['a VLAN that cannot be', [VLAN, 0, 0xff, 0xff], 1],
      ['a mode without its switch', [RX, 0], 1],
      ['too much data', [RX, 0, 1, 1], 1],
      ['no command', [RX], 1],
      ['nothing', [], 1],
      ['a table that lies about its size', [ADDRESS, 0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5, 6], 1],
      ['one table of two', [ADDRESS, 0, 1, 0, 0, 0, 1, 2, 3, 4, 5, 6], 1],
      ['a table with bytes left over', [ADDRESS, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9], 1],
      ['RSS, not offered', [MQ, 1, 0, 0, 0, 0, 3, 0], 1],
      ['pairs, not offered', [MQ, 0, 1, 0], 1],
      ['an address of three bytes', [ADDRESS, 1, 1, 2, 3], 1],
    ])('control: %s is refused', (_, bytes, expected) => {
      const n = make()
      const sent = n.machine.send(2, Uint8Array.from(bytes), 1)
      expect([sent.used, sent.input[0], n.needsReset]).toEqual([true, expected, false])
    })
    test('control: without room for the answer the device stops', () => {
      const n = make()
      n.machine.send(2, Uint8Array.of(RX, 0, 1))
      expect(n.needsReset).toBe(true)
    })
  })

  test('what is sent by one guest reaches another as it was, checksums and segments left undone', () => {
    const [left, right] = cable()
    const a = nic({ transport, packed, net: { backend: left } })
    const b = nic({ transport, packed, net: { backend: right } })
    const { frame, offload } = tcpFrame({ payload: new Uint8Array(20_000).fill(1) })
    const buffer = b.give(32_000)
    a.send(frame, { flags: 1, gso_type: 1, gso_size: 1448, csum_start: offload.start, csum_offset: offload.offset })
    expect(b.received(buffer)!.header).toMatchObject({ flags: 1, gso_type: 1, gso_size: 1448, num_buffers: 1 })
    expect(hex(b.received(buffer)!.frame)).toBe(hex(frame))
  })
})

test('a backend error loses the frame and nothing else', async () => {
  const { BackendError } = await import('../virtio/machine.ts')
  const failing = {
    connect() {},
    send: () => {
      throw new BackendError('gone')
    },
  }
  const n = nic({ net: { backend: failing } })
  expect([n.send(frameTo(2)).used, n.counters.txDropped, n.needsReset]).toEqual([true, 1, false])
})

test('a device says how it is made wrong', () => {
  expect(() => new NetDevice({ mac: MAC, mtu: 9, backend: cable()[0] })).toThrow('68 to 65535')
})
