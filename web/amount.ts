/** Bytes as people read them: `812 B`, `4.2 MB`. Powers of 1000, as browsers show downloads. */
export function bytes(count: number) {
  if (count < 1000) return `${count} B`
  const units = ['kB', 'MB', 'GB', 'TB']
  let value = count / 1000
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`
}

const factors: Readonly<Record<string, number>> = { k: 1, m: 2, g: 3, t: 4 }

/** What people write for a number of bytes: `512 MiB`, `1.5 GB`, `2G`, where units without a B are powers of 1024, as elsewhere on disks. */
export function bytesOf(text: string): number | undefined {
  const [, number, unit, kind] = /^\s*(\d+(?:[.,]\d+)?)\s*([kmgt])(b|ib|)\s*$/i.exec(text) ?? []
  if (!number || !unit) return undefined
  const base = kind?.toLowerCase() === 'b' ? 1000 : 1024
  return Number(number.replace(',', '.')) * base ** factors[unit.toLowerCase()]!
}

export const milliseconds = (count: number) =>
  count < 1000 ? `${Math.round(count)} ms` : `${(count / 1000).toFixed(2)} s`
