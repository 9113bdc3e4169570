import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkOptions, flagOf, mergeOptions, OPTIONS, OptionError, parseEndpoint, parseNetwork } from './options.ts'

const refusal = (given: unknown) => {
  try {
    checkOptions(given, 'relay.json')
  } catch (error) {
    if (error instanceof OptionError) return error.message
    throw error
  }
  return undefined
}

describe('options of the relay', () => {
  test('nothing given means: this machine only, private rooms, no way out', () => {
    expect(checkOptions({})).toMatchObject({
      listen: '127.0.0.1:7654',
      origins: [],
      rooms: 'private',
      egress: false,
      network: '10.0.2.0/24',
    })
  })

  test('flags come before the file, and numbers may be text', () => {
    const options = mergeOptions('{"maxClients": 5, "mtu": 1400, "origins": ["https://a.example"]}', {
      maxClients: '7',
    })
    expect(options).toMatchObject({ maxClients: 7, mtu: 1400, origins: ['https://a.example'] })
    expect(mergeOptions(undefined, { origins: 'https://a.example, https://b.example' }).origins).toHaveLength(2)
  })

  test('what is wrong is said by name and place', () => {
    expect(refusal({ maxClient: 3 })).toBe('relay.json: there is no option "maxClient".')
    expect(refusal({ maxClients: 0 })).toBe('relay.json: maxClients: at least 1 is needed.')
    expect(refusal({ listen: '127.0.0.1' })).toBe('relay.json: listen: HOST:PORT is needed.')
    expect(refusal({ origins: ['https://a.example/path'] })).toContain('origins: an origin is needed')
    expect(refusal({ network: '10.0.2.1/24' })).toContain('network: an IPv4 network')
    expect(refusal({ egress: true, dns: ['one.one.one.one'] })).toContain('dns: an IP address is needed')
    expect(refusal({ egress: true, dns: ['1.1.1.1', '10.0.0.1:5353', '[::1]:53', '::1'] })).toBeUndefined()
    expect(refusal({ allow: ['10.0.0.0/8'] })).toContain('need egress')
    expect(() => mergeOptions('{', {}, 'relay.json')).toThrow('relay.json is not JSON')
    expect(() => mergeOptions('[]', {}, 'relay.json')).toThrow('one JSON object')
  })

  test('any JSON is taken or refused with a sentence', () => {
    const nearly = fc.dictionary(fc.constantFrom(...Object.keys(OPTIONS), 'other'), fc.jsonValue(), { maxKeys: 4 })
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json(),
          nearly.map(value => JSON.stringify(value)),
          fc.string(),
        ),
        text => {
          try {
            mergeOptions(text, {})
          } catch (error) {
            expect(error).toBeInstanceOf(OptionError)
            expect((error as Error).message).toMatch(/^(configuration|command line)/)
          }
        },
      ),
      { numRuns: 200 },
    )
  }, 60_000)

  test('endpoints and networks', () => {
    expect(parseEndpoint('[::1]:80')).toEqual({ host: '::1', port: 80 })
    expect(parseEndpoint('relay.example:443')).toEqual({ host: 'relay.example', port: 443 })
    for (const text of ['', ':80', '1.2.3.4', '1.2.3.4:70000', '::1:80', 'a b:1'])
      expect(parseEndpoint(text)).toBeUndefined()
    expect(parseNetwork('10.0.0.0/8')).toEqual({ network: 0x0a000000, prefix: 8 })
    for (const text of ['10.0.0.0', '10.0.0.1/8', '10.0.0.0/33', '10.0.0.0/', '::/0'])
      expect(parseNetwork(text)).toBeUndefined()
    fc.assert(fc.property(fc.string(), text => void [parseEndpoint(text), parseNetwork(text)]))
  })

  test('flags are spelled with dashes', () => expect(flagOf('maxPerAddress')).toBe('max-per-address'))
})
