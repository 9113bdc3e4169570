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

export const milliseconds = (count: number) =>
  count < 1000 ? `${Math.round(count)} ms` : `${(count / 1000).toFixed(2)} s`
