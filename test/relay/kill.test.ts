/** `bench/relay-kill.ts` says how long these take. */

import { describe, expect, test } from 'vitest'
import { whyNot } from './internet.ts'
import { failOver, killNats, killPasst, killRelay } from './kill.ts'

const noNats = whyNot('nats-server')
const noPasst = whyNot('ip', 'nft', 'passt')
for (const reason of [noNats, noPasst]) if (reason) console.warn(`Some kills are NOT tested: ${reason}.`)

describe('kill -9 under load heals', { timeout: 180_000 }, () => {
  test('of a relay that is started again', async () => {
    expect((await killRelay()).healed).toBeGreaterThan(0)
  })

  test.skipIf(noNats)('of one relay of two', async () => {
    expect((await failOver()).healed).toBeGreaterThan(0)
  })

  test.skipIf(noNats)('of the NATS server, without which rooms go on locally', async () => {
    expect((await killNats()).healed).toBeGreaterThan(0)
  })

  test.skipIf(noPasst)('of a passt, and nobody else notices', async () => {
    expect((await killPasst()).healed).toBeGreaterThan(0)
  })
})
