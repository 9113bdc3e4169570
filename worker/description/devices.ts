/** Every device a machine description can name. A new one is its schema's file and a line here. */

import { consoleSchema } from './console.ts'
import { entropySchema } from './entropy.ts'

export const deviceSchemas = [consoleSchema, entropySchema] as const
