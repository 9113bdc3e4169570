import type { MachineState } from '../worker/api.ts'
import { type Mood, moodOf, slot, takenBy } from './ring.ts'

/** What a state is called, in the bar and in the tab's title. */
export const stateNames: Record<MachineState, string> = {
  empty: 'Not started',
  loading: 'Loading',
  booting: 'Booting',
  running: 'Running',
  paused: 'Paused',
  halted: 'Halted',
  'powered-off': 'Powered off',
  panicked: 'Kernel panic',
  'triple-fault': 'Triple fault',
  failed: 'Failed',
}

// The icon stands on the browser's own tab, of whichever colour: middle tones that show on light and on dark.
const colours: Record<Mood, string> = {
  idle: '#1a9c7d',
  busy: '#1a9c7d',
  well: '#1a9c7d',
  waiting: '#d38b1b',
  off: '#8a9691',
  broken: '#e0543c',
}

function icon(mood: Mood) {
  const slots = 8
  const paths = Array.from({ length: slots }, (_, index) => {
    const taken = takenBy(mood, index, slots) || (mood === 'busy' && index < 3)
    return `<path d="${slot(index, slots, 40, 0.26)}" opacity="${taken ? 1 : 0.32}"/>`
  })
  return `data:image/svg+xml,${encodeURIComponent(
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100" fill="none" stroke="${colours[mood]}" stroke-width="18">${paths.join('')}</svg>`,
  )}`
}

/** Shows the machine's state where it is seen from other tabs: in the title and on the icon. */
export function showInTab(state: MachineState, machine: string | undefined) {
  document.title = state === 'empty' ? 'Ringlet' : `${stateNames[state]} · ${machine ?? 'Linux'} – Ringlet`
  const link = document.querySelector<HTMLLinkElement>('link[rel=icon]')
  const href = icon(moodOf(state))
  if (link && link.href !== href) link.href = href
}
