/** What every device in a machine description may say, and the pieces its own schema is made of. */

import * as v from 'valibot'

export const transports = ['mmio', 'mmio-legacy', 'pci', 'pci-transitional', 'pci-legacy'] as const
export type Transport = (typeof transports)[number]

/** Adds the words that editors and the published JSON Schema show. */
export const described = <S extends v.GenericSchema>(doc: string, schema: S) => v.pipe(schema, v.description(doc))

export const transport = v.picklist(transports)

export const wholeNumber = (least: number, most: number) =>
  v.pipe(
    v.number(),
    v.integer('must be a whole number'),
    v.minValue(least, `must be at least ${least}`),
    v.maxValue(most, `must be at most ${most}`),
  )

export const url = v.pipe(v.string(), v.nonEmpty('is empty: give a URL, or file:NAME for a file of yours'))

/** The entries of a source given as an object, for schemas that add their own. */
export const sourceEntries = {
  url: described('Where it is. Relative to this document; `file:NAME` means a file the user supplies.', url),
  sha256: v.optional(
    described(
      'SHA-256 of the file as it is downloaded, in hexadecimal.',
      v.pipe(v.string(), v.regex(/^[0-9a-fA-F]{64}$/, 'must be 64 hexadecimal digits')),
    ),
  ),
  size: v.optional(
    described('Size of the file as it is downloaded, in bytes.', wholeNumber(0, Number.MAX_SAFE_INTEGER)),
  ),
}

/**
 * A file to be downloaded: a URL, or an object that can carry its checksum too. Parsing gives the object form.
 * Everything called `url` in the document is made absolute by `parseDescription`.
 */
export const source = (doc: string) =>
  v.pipe(
    v.union([url, v.strictObject(sourceEntries)]),
    v.description(doc),
    v.transform((value): FileSource => (typeof value === 'string' ? { url: value } : value)),
  )
/** A file named by a description: an absolute URL or `file:NAME`; size in bytes. */
export interface FileSource {
  readonly url: string
  readonly sha256?: string | undefined
  readonly size?: number | undefined
}

/** Declares a device's schema: its `type`, what every device has, and its own entries. */
export const device = <const T extends string, const E extends v.ObjectEntries>(type: T, doc: string, entries: E) =>
  v.strictObject({
    type: described(doc, v.literal(type)),
    transport: v.optional(described('How the guest finds it; the document’s `transport` unless given.', transport)),
    features: v.optional(
      v.strictObject({
        mask: v.optional(
          described(
            'Features not to be offered, by name (VIRTIO_RING_F_EVENT_IDX) or bit number.',
            v.array(
              v.union([
                v.pipe(
                  v.string(),
                  v.regex(/^VIRTIO_[A-Z0-9_]+$/, 'must be a feature’s name, as in VIRTIO_F_VERSION_1'),
                ),
                wholeNumber(0, 127),
              ]),
            ),
          ),
        ),
      }),
    ),
    queueSize: v.optional(
      described(
        'Largest queue offered, in descriptors.',
        v.pipe(
          wholeNumber(1, 32768),
          v.check(size => (size & (size - 1)) === 0, 'must be a power of 2'),
        ),
      ),
    ),
    ...entries,
  })
