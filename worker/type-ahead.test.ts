import { expect, test } from 'vitest'
import { TypeAhead } from './type-ahead.ts'

function typeAhead() {
  const delivered: string[] = []
  const console = new TypeAhead(bytes => {
    delivered.push(String.fromCharCode(...bytes))
    return 0
  })
  const type = (text: string) => console.input(Uint8Array.from(text, char => char.charCodeAt(0)))
  return { console, delivered, type }
}
const states = { resting: false, driven: false, heard: false }

test('what is typed before the driver is there is delivered in order at its first rest', () => {
  const { console, delivered, type } = typeAhead()
  type('ab')
  console.look(0, { ...states, resting: true })
  console.look(1, { ...states, driven: true })
  type('c')
  expect(delivered).toEqual([])
  console.look(2, { ...states, driven: true, resting: true })
  type('d')
  expect(delivered).toEqual(['abc', 'd'])
})

test('a guest that never rests gets it a second after its first word', () => {
  const { console, delivered, type } = typeAhead()
  type('x')
  console.look(5000, { ...states, driven: true, heard: true })
  console.look(5999, { ...states, driven: true, heard: true })
  expect(delivered).toEqual([])
  console.look(6000, { ...states, driven: true, heard: true })
  expect(delivered).toEqual(['x'])
})

test('what finds no room in a megabyte is counted', () => {
  const { console } = typeAhead()
  expect(console.input(new Uint8Array((1 << 20) + 3))).toBe(3)
})
