import { device } from './device.ts'

export const entropySchema = device('entropy', 'A source of random bytes.', {})
