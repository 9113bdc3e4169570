/** Every device a machine description can name. A new one is its schema's file and a line here. */

import { blockSchema } from './block.ts'
import { consoleSchema } from './console.ts'
import { entropySchema } from './entropy.ts'
import { netSchema } from './net.ts'

export const deviceSchemas = [blockSchema, consoleSchema, entropySchema, netSchema] as const
