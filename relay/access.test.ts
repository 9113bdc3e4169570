import { SignJWT, UnsecuredJWT } from 'jose'
import { beforeAll, describe, expect, test } from 'vitest'
import { checkOrigin, createKey, isRoomName, mintToken, publicHalf, tokenVerifier } from './access.ts'

describe('origins', () => {
  const admitted = (origin: string | undefined, allowed: string[] = [], originless = false) => {
    try {
      checkOrigin(origin, allowed, originless)
      return true
    } catch {
      return false
    }
  }

  test('without a list, pages of this machine and no others', () => {
    for (const origin of [
      'http://localhost:5173',
      'https://localhost',
      'http://127.0.0.1:1',
      'http://[::1]:8',
      'http://a.localhost',
    ])
      expect(admitted(origin), origin).toBe(true)
    for (const origin of [
      'https://evil.example',
      'http://localhost.evil.example',
      'http://127.0.0.1.evil.example',
      'http://10.0.0.1',
      'null',
      'file://',
      '',
    ])
      expect(admitted(origin), origin).toBe(false)
  })

  test('with a list, exactly those', () => {
    expect(admitted('https://app.example', ['https://app.example'])).toBe(true)
    for (const origin of [
      'http://app.example',
      'https://app.example:444',
      'https://app.example.evil',
      'http://localhost',
    ])
      expect(admitted(origin, ['https://app.example'])).toBe(false)
  })

  test('programs without an origin only where that is allowed', () => {
    expect(admitted(undefined)).toBe(false)
    expect(admitted(undefined, [], true)).toBe(true)
  })
})

describe('tokens', () => {
  let key: Awaited<ReturnType<typeof createKey>>
  let verify: Awaited<ReturnType<typeof tokenVerifier>>
  beforeAll(async () => {
    key = await createKey()
    verify = await tokenVerifier(publicHalf(key), 3600)
  })

  test('what was granted is read with the public half of the key', async () => {
    const grant = { room: 'lab', mac: '52:54:00:00:00:01', egress: true, framesPerSecond: 100 }
    expect(await verify(await mintToken(key, grant, 60))).toEqual(grant)
  })

  test('none, expired, forged by another key, unsigned, for somebody else, too old: refused', async () => {
    const { importJWK } = await import('jose')
    const secret = await importJWK(key, 'EdDSA')
    const sign = () => new SignJWT({ room: 'lab' }).setProtectedHeader({ alg: 'EdDSA' })
    const forged = await mintToken(await createKey(), { room: 'lab' }, 60)
    const sound = await mintToken(key, { room: 'lab' }, 60)
    const [header, , signature] = sound.split('.')
    const other = Buffer.from(JSON.stringify({ room: 'other', aud: 'ringlet-relay' })).toString('base64url')
    const bad: Record<string, string | undefined> = {
      none: undefined,
      empty: '',
      noise: 'a.b.c',
      expired: await mintToken(key, { room: 'lab' }, -1),
      forged,
      changed: [header, other, signature].join('.'),
      unsigned: new UnsecuredJWT({ room: 'lab' })
        .setAudience('ringlet-relay')
        .setIssuedAt()
        .setExpirationTime('1m')
        .encode(),
      audience: await sign().setAudience('elsewhere').setIssuedAt().setExpirationTime('1m').sign(secret),
      endless: await sign().setAudience('ringlet-relay').setIssuedAt().sign(secret),
      old: await sign().setAudience('ringlet-relay').setIssuedAt('2 hours ago').setExpirationTime('1h').sign(secret),
    }
    for (const [what, token] of Object.entries(bad))
      await expect(verify(token), what).rejects.toMatchObject({ status: 401 })
  })

  test('a signed claim that could not be a room or a station is refused all the same', async () => {
    const { importJWK } = await import('jose')
    const secret = await importJWK(key, 'EdDSA')
    for (const claims of [
      { room: 'l2.>' },
      { room: '*' },
      { room: '' },
      { mac: 'ff:ff:ff:ff:ff:ff' },
      { mac: 'b.>' },
    ]) {
      const token = new SignJWT(claims).setProtectedHeader({ alg: 'EdDSA' }).setAudience('ringlet-relay')
      await expect(verify(await token.setIssuedAt().setExpirationTime('1m').sign(secret))).rejects.toMatchObject({
        reason: 'token',
      })
      await expect(mintToken(key, claims, 60)).rejects.toThrow()
    }
  })

  test('the public half signs nothing', async () => {
    await expect(mintToken(publicHalf(key), {}, 60)).rejects.toThrow('public half')
  })
})

test('a room’s name is one word of a subject', () => {
  for (const name of ['lab', 'Lab-1', '0_x']) expect(isRoomName(name)).toBe(true)
  for (const name of ['', '-a', 'a.b', 'a.>', '>', '*', 'a b', 'ä', '~1', 'x'.repeat(64), 'a\r\nPUB'])
    expect(isRoomName(name)).toBe(false)
})
