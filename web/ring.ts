import { css, html, LitElement, svg } from 'lit'
import { customElement, property } from 'lit/decorators.js'
import type { MachineState } from '../worker/api.ts'

export type Mood = 'idle' | 'busy' | 'well' | 'waiting' | 'off' | 'broken'

const moods: Record<MachineState, Mood> = {
  empty: 'idle',
  loading: 'busy',
  booting: 'busy',
  running: 'well',
  paused: 'waiting',
  halted: 'off',
  'powered-off': 'off',
  panicked: 'broken',
  'triple-fault': 'broken',
  failed: 'broken',
}
export const moodOf = (state: MachineState): Mood => moods[state]

const point = (angle: number, radius: number) =>
  `${(50 + radius * Math.sin(angle)).toFixed(2)} ${(50 - radius * Math.cos(angle)).toFixed(2)}`

/** One descriptor's slot of a ring of `count`, as an SVG path in a 100 × 100 box. */
export function slot(index: number, count: number, radius: number, gap = 0.3) {
  const step = (2 * Math.PI) / count
  const from = (index + gap / 2) * step
  const to = (index + 1 - gap / 2) * step
  return `M${point(from, radius)}A${radius} ${radius} 0 0 1 ${point(to, radius)}`
}

/** The mark of the page: a virtqueue as a ring of slots. It fills with progress and tells the machine's state by colour. */
@customElement('ringlet-ring')
export class Ring extends LitElement {
  @property() mood: Mood = 'idle'
  @property({ type: Number }) slots = 12
  /** Slots drawn as taken, from 0 to 1; without it the mood decides. */
  @property({ type: Number }) progress?: number

  static override styles = css`
    :host {
      display: inline-block;
      width: 28px;
      aspect-ratio: 1;
      color: var(--accent);
    }
    svg {
      display: block;
      width: 100%;
      height: 100%;
      overflow: visible;
    }
    path {
      fill: none;
      stroke: currentColor;
      stroke-width: var(--ring-width, 13);
      opacity: 0.2;
      transition: opacity 240ms;
    }
    path.taken {
      opacity: 1;
    }
    .head {
      opacity: 1;
      transform-origin: 50% 50%;
    }
    :host([mood='busy']) .head {
      animation: turn 1.8s steps(var(--ring-slots, 12)) infinite;
    }
    :host([mood='waiting']) {
      color: var(--warm);
    }
    :host([mood='off']) {
      color: var(--ink-2);
    }
    :host([mood='broken']) {
      color: var(--bad);
    }
    @keyframes turn {
      to {
        transform: rotate(1turn);
      }
    }
    @media (prefers-reduced-motion: reduce) {
      :host([mood='busy']) .head {
        animation: none;
      }
    }
  `

  protected override willUpdate() {
    this.setAttribute('mood', this.mood)
    this.style.setProperty('--ring-slots', String(this.slots))
  }

  /** How many slots are taken where no progress says it: a pattern a mood, the same as on the tab's icon. */
  #taken(index: number) {
    if (this.progress !== undefined) return index < Math.round(this.progress * this.slots)
    return takenBy(this.mood, index, this.slots)
  }

  override render() {
    const indices = Array.from({ length: this.slots }, (_, index) => index)
    return html`<svg viewBox="0 0 100 100" aria-hidden="true">
      ${indices.map(index => svg`<path class=${this.#taken(index) ? 'taken' : ''} d=${slot(index, this.slots, 41)} />`)}
      ${this.mood === 'busy' ? svg`<path class="head" d=${slot(0, this.slots, 41)} />` : ''}
    </svg>`
  }
}

export function takenBy(mood: Mood, index: number, slots: number) {
  const part = index / slots
  switch (mood) {
    case 'well':
      return true
    case 'idle':
      return part < 0.25 || part >= 0.75
    case 'waiting':
      return index % 2 === 0
    case 'broken':
      return part >= 0.17
    case 'busy':
    case 'off':
      return false
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'ringlet-ring': Ring
  }
}
