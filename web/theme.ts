/** Light, dark, or as the system says. Kept in `localStorage` where the browser lets us. */

export const themes = ['system', 'light', 'dark'] as const
export type Theme = (typeof themes)[number]

const key = 'ringlet.theme'
const systemDark = matchMedia('(prefers-color-scheme: dark)')
const changes = new EventTarget()
let theme: Theme = stored()

/** Storage may be refused altogether (private windows, blocked cookies); then the choice lasts as long as the page. */
function stored(): Theme {
  try {
    const value = localStorage.getItem(key)
    return themes.find(name => name === value) ?? 'system'
  } catch {
    return 'system'
  }
}

function apply() {
  if (theme === 'system') delete document.documentElement.dataset['theme']
  else document.documentElement.dataset['theme'] = theme
  changes.dispatchEvent(new Event('change'))
}

export const currentTheme = () => theme
export const isDark = () => (theme === 'system' ? systemDark.matches : theme === 'dark')

export function setTheme(next: Theme) {
  theme = next
  try {
    localStorage.setItem(key, next)
  } catch {
    // Only remembering failed.
  }
  apply()
}

/** Calls back after every change, also of the system's own preference; returns how to stop. */
export function onThemeChange(listener: () => void) {
  changes.addEventListener('change', listener)
  return () => changes.removeEventListener('change', listener)
}

systemDark.addEventListener('change', apply)
apply()
