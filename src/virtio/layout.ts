/** Guest-visible layouts as data: the code, the inspector, the lessons and the reference page all read these tables. */

type Bits = Readonly<Record<string, number>>

/** One field of a structure. `size` is in bytes, `bits` are masks or values by the specification's names. */
export interface Field<T = number> {
  readonly size: number
  readonly doc: string
  readonly bits?: Bits
  /** In a configuration space: the driver may write it. */
  readonly writable?: boolean
  get(view: DataView, at: number): T
  set(view: DataView, at: number, value: T): void
}

interface AnyField extends Omit<Field, 'get' | 'set'> {
  get(view: DataView, at: number): unknown
  set(view: DataView, at: number, value: never): void
}
type Fields = Readonly<Record<string, AnyField>>
type Values<F> = { -readonly [K in keyof F]: F[K] extends { get(view: DataView, at: number): infer T } ? T : never }
export type Infer<S> = S extends { readonly fields: infer F } ? Values<F> : never

/** A declared structure: a class whose instances are windows onto bytes, plus the table it was made from. */
export interface Struct<F = Fields> {
  new (view: DataView, at?: number): Values<F>
  readonly title: string
  readonly section: string
  /** In bytes. */
  readonly size: number
  readonly fields: F
  readonly offset: { readonly [K in keyof F]: number }
  /** Fresh bytes with these values; every other field is zero. */
  bytes(values?: Partial<Values<F>>): Uint8Array<ArrayBuffer>
}

/** Declares a packed structure, in the specification's order and words. */
export function struct<const F extends Readonly<Record<string, object>>>(
  title: string,
  section: string,
  fields: F,
): Struct<F> {
  const table = fields as unknown as Record<string, Field<unknown>>
  const offset: Record<string, number> = {}
  let size = 0
  for (const [key, field] of Object.entries(table)) {
    offset[key] = size
    size += field.size
  }
  class Window {
    static readonly title = title
    static readonly section = section
    static readonly size = size
    static readonly fields = fields
    static readonly offset = offset
    static bytes(values: object = {}) {
      const bytes = new Uint8Array(size)
      Object.assign(new Window(new DataView(bytes.buffer)), values)
      return bytes
    }
    constructor(
      readonly view: DataView,
      readonly at = 0,
    ) {}
  }
  for (const [key, { get, set }] of Object.entries(table)) {
    const start = offset[key]!
    Object.defineProperty(Window.prototype, key, {
      enumerable: true,
      get(this: Window) {
        return get(this.view, this.at + start)
      },
      set(this: Window, value) {
        set(this.view, this.at + start, value)
      },
    })
  }
  return Window as unknown as Struct<F>
}

const scalar =
  (size: number, get: Field['get'], set: Field['set']) =>
  <const B extends Bits = {}>(doc = '', bits?: B) => ({ size, doc, bits: bits ?? ({} as B), get, set })

export const u8 = scalar(
  1,
  (view, at) => view.getUint8(at),
  (view, at, value) => view.setUint8(at, value),
)
export const le16 = scalar(
  2,
  (view, at) => view.getUint16(at, true),
  (view, at, value) => view.setUint16(at, value, true),
)
export const le32 = scalar(
  4,
  (view, at) => view.getUint32(at, true),
  (view, at, value) => view.setUint32(at, value, true),
)
/** A 64-bit value as a plain number, exact up to 2^53: what lies above is out of every bound we check against. */
export const le64 = scalar(
  8,
  (view, at) => view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32,
  (view, at, value) => {
    view.setUint32(at, value >>> 0, true)
    view.setUint32(at + 4, Math.floor(value / 2 ** 32), true)
  },
)
/** A 64-bit value whose every bit counts. */
export const le64big = (doc = '') => ({
  size: 8,
  doc,
  get: (view: DataView, at: number) => view.getBigUint64(at, true),
  set: (view: DataView, at: number, value: bigint) => view.setBigUint64(at, value, true),
})
/** Big-endian, as everything inside a network frame is. */
export const be16 = scalar(
  2,
  (view, at) => view.getUint16(at),
  (view, at, value) => view.setUint16(at, value),
)
export const be32 = scalar(
  4,
  (view, at) => view.getUint32(at),
  (view, at, value) => view.setUint32(at, value),
)
export const be64 = scalar(
  8,
  (view, at) => view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4),
  (view, at, value) => {
    view.setUint32(at, Math.floor(value / 2 ** 32))
    view.setUint32(at + 4, value >>> 0)
  },
)
/** Six bytes as one number: a MAC address that can be compared and be a key. */
export const be48 = scalar(
  6,
  (view, at) => view.getUint16(at) * 2 ** 32 + view.getUint32(at + 2),
  (view, at, value) => {
    view.setUint16(at, Math.floor(value / 2 ** 32))
    view.setUint32(at + 2, value >>> 0)
  },
)
/** `count` bytes; reading gives a view of them, writing copies and leaves the rest as it is. */
export const bytes = (count: number, doc = '') => ({
  size: count,
  doc,
  get: (view: DataView, at: number): Uint8Array => new Uint8Array(view.buffer, view.byteOffset + at, count),
  set: (view: DataView, at: number, value: Uint8Array) =>
    new Uint8Array(view.buffer, view.byteOffset + at, count).set(value.subarray(0, count)),
})
/** Marks a field of a configuration space as one the driver may write. */
export const writable = <F extends object>(field: F): F & { readonly writable: true } => ({ ...field, writable: true })

// ---- registers ----

export type Access = 'r' | 'w' | 'rw'
/** One register. `at` and `size` are in bytes. */
export interface Register<A extends Access = Access> {
  readonly at: number
  readonly access: A
  readonly size: number
  readonly doc: string
  readonly bits?: Bits
}
export type RegisterMap = Readonly<Record<string, Register>>
const register =
  <A extends Access>(access: A) =>
  (at: number, doc: string, size = 4, bits?: Bits): Register<A> => ({ at, access, doc, size, ...(bits && { bits }) })
export const ro = register('r')
export const wo = register('w')
export const rw = register('rw')

/** What a transport must supply: a `read` for every readable register, a `write` for every writable one. */
export type Handlers<R extends RegisterMap> = {
  [K in keyof R]: (R[K]['access'] extends 'r' | 'rw' ? { read(): number } : {}) &
    (R[K]['access'] extends 'w' | 'rw' ? { write(value: number): void } : {})
}
