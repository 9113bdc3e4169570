import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readClaim, readKey } from './leases.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

test('a claim is read as it was written, and anything else is none', () => {
  const claim = { node: 'a1b2c3d4e5f6', mac: '525400123456', name: 'web-1' }
  expect(readClaim(bytes(JSON.stringify(claim)))).toEqual(claim)
  for (const change of [
    { node: '>' },
    { node: 'a.b' },
    { node: '' },
    { mac: '5254001234' },
    { mac: 1 },
    { name: 'a.b' },
  ])
    expect(readClaim(bytes(JSON.stringify({ ...claim, ...change }))), JSON.stringify(change)).toBeUndefined()
  for (const text of ['', '{', 'null', '[]', '"x"']) expect(readClaim(bytes(text)), text).toBeUndefined()
})

test('a key names a room and an address of it', () => {
  expect(readKey('lab.ip.0a000205')).toEqual({ room: 'lab', kind: 'ip', number: 0x0a000205 })
  expect(readKey('lab.mac.525400123456')).toEqual({ room: 'lab', kind: 'mac', number: 0x525400123456 })
  for (const key of [
    'lab',
    'lab.ip',
    'lab.ip.0a0002',
    'lab.ip.525400123456',
    'lab.mac.0a000205',
    'a.b.ip.0a000205',
    '',
  ])
    expect(readKey(key), key).toBeUndefined()
})

test('any value and any key are read without harm', () => {
  const near = fc.record({
    node: fc.string(),
    mac: fc.oneof(fc.string(), fc.constant('525400123456')),
    name: fc.jsonValue(),
  })
  const value = fc.oneof(
    fc.uint8Array(),
    fc.json().map(bytes),
    near.map(claim => bytes(JSON.stringify(claim))),
  )
  fc.assert(
    fc.property(value, fc.string(), (value, key) => {
      const claim = readClaim(value)
      if (claim) expect(`l2.node.${claim.node}`).toMatch(/^l2\.node\.\w+$/)
      readKey(key)
    }),
  )
})
