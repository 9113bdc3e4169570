import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { formatIp, parseIp } from '../../src/net/ipv4.ts'
import { OptionError } from '../options.ts'
import { EgressPolicy } from './policy.ts'

const ip = (text: string) => parseIp(text)!
let now = 0
const policy = (...allow: string[]) => new EgressPolicy(allow, () => now)
beforeEach(() => {
  now = 0
})

const PRIVATE = [
  '0.0.0.0',
  '10.1.2.3',
  '100.64.0.1',
  '127.0.0.1',
  '169.254.169.254',
  '172.31.255.255',
  '192.0.0.192',
  '192.168.0.1',
  '168.63.129.16',
  '224.0.0.251',
  '255.255.255.255',
]

describe('where clients may go', () => {
  test('anywhere but to loopback, private, link-local, metadata and multicast addresses', () => {
    for (const address of PRIVATE) expect(policy().refuse(ip(address)), address).toMatch(/^in /)
    for (const address of ['1.1.1.1', '8.8.8.8', '172.32.0.1', '192.169.0.1', '168.63.129.17', '223.255.255.255'])
      expect(policy().refuse(ip(address)), address).toBeUndefined()
  })

  test('a private network that was opened, and not its neighbours', () => {
    const opened = policy('10.1.0.0/16', '192.168.7.7')
    expect(opened.refuse(ip('10.1.2.3'))).toBeUndefined()
    expect(opened.refuse(ip('192.168.7.7'))).toBeUndefined()
    expect(opened.refuse(ip('10.2.0.1'))).toBeDefined()
    expect(opened.refuse(ip('192.168.7.8'))).toBeDefined()
    expect(opened.refuse(ip('8.8.8.8'))).toBeUndefined()
  })

  test('loopback, multicast and IPv6 cannot be opened, in any spelling', () => {
    const spellings = [
      '127.0.0.1',
      '127.0.0.0/8',
      '0.0.0.0/0',
      '224.0.0.1',
      '::1',
      '::ffff:127.0.0.1',
      '0177.0.0.1',
      '10.1',
      '10.0.0.1/8',
    ]
    for (const network of spellings) expect(() => policy(network), network).toThrow(OptionError)
    for (const name of ['localhost', 'a_b.example', '*.example.org', '-a.example', ''])
      expect(() => policy(name), name).toThrow(OptionError)
  })

  test('with names, only where they lead, for an hour after they were last resolved or used', () => {
    const named = policy('example.org')
    expect(named.mayResolve('example.org')).toBe(true)
    expect(named.mayResolve('www.example.org')).toBe(true)
    expect(named.mayResolve('evilexample.org')).toBe(false)
    expect(named.mayResolve('example.org.evil')).toBe(false)
    expect(named.refuse(ip('93.184.216.34'))).toContain('not an address')
    expect(named.learn(ip('93.184.216.34'))).toBe(true)
    now += 3_000_000
    expect(named.refuse(ip('93.184.216.34'))).toBeUndefined()
    now += 3_000_000
    expect(named.refuse(ip('93.184.216.34'))).toBeUndefined()
    now += 3_700_000
    expect(named.refuse(ip('93.184.216.34'))).toBeDefined()
  })

  test('an allowed name opens no private address', () => {
    const named = policy('example.org')
    for (const address of PRIVATE) {
      named.learn(ip(address))
      expect(named.refuse(ip(address)), address).toMatch(/^in /)
    }
  })

  test('any list is taken or refused with a sentence', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string(), fc.domain(), fc.ipV4(), fc.ipV6())),
        fc.nat(2 ** 32 - 1),
        (allow, to) => {
          try {
            expect(typeof policy(...allow).refuse(to)).toMatch(/string|undefined/)
            expect(policy(...allow).refuse(ip('127.0.0.1')), formatIp(to)).toBeDefined()
          } catch (error) {
            expect(error).toBeInstanceOf(OptionError)
          }
        },
      ),
    )
  }, 60_000)
})
