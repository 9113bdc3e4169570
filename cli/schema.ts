/** Writes the machine description's JSON Schema, which editors and others can check documents by. */

import { writeFileSync } from 'node:fs'
import { toJsonSchema } from '@valibot/to-json-schema'
import { descriptionSchema } from '../worker/description.ts'

export const schemaFile = new URL('../public/machine.schema.json', import.meta.url)

export function jsonSchema(): string {
  const schema = toJsonSchema(descriptionSchema, { typeMode: 'input', errorMode: 'ignore' })
  const whole = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Ringlet machine description',
    ...schema,
    // What lies between entries is a function in our schema, which cannot be translated.
    oneOf: [{ required: ['kernel'] }, { required: ['bios'] }],
  }
  return `${JSON.stringify(whole, null, 2)}\n`
}

if (process.argv[1] === new URL(import.meta.url).pathname) writeFileSync(schemaFile, jsonSchema())
