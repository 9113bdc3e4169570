import { describe, expect, test } from 'vitest'
import { BROADCAST_MAC, writeEthernet } from './ethernet.ts'
import { Switch } from './switch.ts'

const A = 0x020000000001
const B = 0x020000000002
const frame = (destination: number, source: number) => writeEthernet(destination, source, 0x0800, new Uint8Array(46))

function lan(count: number, lan = new Switch()) {
  const inboxes = Array.from({ length: count }, () => [] as Uint8Array[])
  const ports = inboxes.map(inbox => lan.attach({ send: frame => inbox.push(frame) }))
  return { lan, ports, counts: () => inboxes.map(inbox => inbox.length) }
}

describe('a learning switch', () => {
  test('floods what it has not learned, to everybody but the sender', () => {
    const { ports, counts } = lan(3)
    ports[0]!.receive(frame(B, A))
    expect(counts()).toEqual([0, 1, 1])
  })

  test('sends only where the receiver was heard', () => {
    const { ports, counts } = lan(3)
    ports[1]!.receive(frame(BROADCAST_MAC, B))
    ports[0]!.receive(frame(B, A))
    expect(counts()).toEqual([1, 1, 1])
  })

  test('follows a station that moves to another port', () => {
    const { ports, counts } = lan(3)
    ports[1]!.receive(frame(BROADCAST_MAC, B))
    ports[2]!.receive(frame(BROADCAST_MAC, B))
    ports[0]!.receive(frame(B, A))
    expect(counts()).toEqual([2, 1, 2])
  })

  test('does not send back by the port a frame came from', () => {
    const { ports, counts } = lan(2)
    ports[0]!.receive(frame(BROADCAST_MAC, B))
    ports[0]!.receive(frame(B, A))
    expect(counts()).toEqual([0, 1])
  })

  test('never learns a group address', () => {
    const { ports, counts } = lan(3)
    ports[1]!.receive(frame(A, BROADCAST_MAC))
    ports[0]!.receive(frame(BROADCAST_MAC, A))
    expect(counts()).toEqual([1, 1, 2])
  })

  test('keeps unknown unicast from a port that does not want it, and still gives it broadcasts', () => {
    const { lan: sw, ports, counts } = lan(1)
    const quiet: Uint8Array[] = []
    sw.attach({ send: frame => quiet.push(frame) }, { unknown: false })
    ports[0]!.receive(frame(B, A))
    expect(quiet).toHaveLength(0)
    ports[0]!.receive(frame(BROADCAST_MAC, A))
    expect(quiet).toHaveLength(1)
    expect(counts()).toEqual([0])
  })

  test('forgets a port that was detached', () => {
    const { ports, counts } = lan(3)
    ports[1]!.receive(frame(BROADCAST_MAC, B))
    ports[1]!.detach()
    ports[0]!.receive(frame(B, A))
    expect(counts()).toEqual([1, 0, 2])
  })

  test('a flood of made-up addresses does not make the table grow', () => {
    const { lan: sw, ports } = lan(2, new Switch(16))
    for (let i = 0; i < 1000; i++) ports[0]!.receive(frame(B, A + i * 256))
    expect(sw.lookup(A)).toBeUndefined()
    expect(sw.lookup(A + 999 * 256)).toBe(ports[0])
  })

  test('ignores a frame too short to have a header', () => {
    const { ports, counts } = lan(2)
    ports[0]!.receive(new Uint8Array(13))
    expect(counts()).toEqual([0, 0])
  })
})
