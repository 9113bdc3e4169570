import { css, html, LitElement } from 'lit'
import { customElement, property } from 'lit/decorators.js'
import { controls } from './controls.ts'
import { Follow } from './follow.ts'
import { icons } from './icons.ts'
import './ring.ts'
import { moodOf } from './ring.ts'
import { hasEnded, type Session } from './session.ts'
import { stateNames } from './tab-status.ts'
import './theme-button.ts'

/** What the machine is and does, and its switches. Arrow keys walk along them; Control F6 goes to the terminal. */
@customElement('machine-bar')
export class MachineBar extends LitElement {
  @property({ attribute: false }) session!: Session
  @property() name = ''
  @property({ type: Boolean }) side = false
  protected readonly follow = new Follow(this, () => this.session)

  static override styles = [
    controls,
    css`
      :host {
        display: flex;
        align-items: center;
        gap: 4px 6px;
        min-width: 0;
        padding: 8px 10px;
      }
      .what {
        display: grid;
        grid-template-columns: auto minmax(0, 1fr);
        column-gap: 10px;
        align-items: center;
        min-width: 0;
        margin: 0 auto 0 4px;
        line-height: 1.25;
      }
      ringlet-ring {
        grid-row: span 2;
        width: 30px;
      }
      h1 {
        overflow: hidden;
        font: 620 15px/1.25 var(--sans);
        letter-spacing: -0.01em;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .state {
        color: var(--ink-2);
        font-size: 13px;
      }
      [role='toolbar'] {
        display: flex;
        gap: 6px;
      }
      @media (max-width: 760px) {
        .label {
          display: none;
        }
        .button {
          width: 40px;
          padding: 0;
        }
        [role='toolbar'] {
          gap: 2px;
        }
        theme-button {
          display: none;
        }
        :host {
          padding: 8px 6px;
        }
        .what {
          column-gap: 7px;
          margin-left: -4px;
        }
        .button.quiet {
          width: 34px;
        }
      }
    `,
  ]

  /** To the first switch that can be used. */
  override focus() {
    this.#buttons()[0]?.focus()
  }

  /** To the switch that shows the panels: where who closes them comes from. */
  focusPanels() {
    this.#buttons().at(-1)?.focus()
  }

  #buttons() {
    return [...this.renderRoot.querySelectorAll<HTMLButtonElement>('[role=toolbar] button:not(:disabled)')]
  }

  #walk(event: KeyboardEvent) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
    if (!step) return
    const buttons = this.#buttons()
    const at = buttons.indexOf(event.target as HTMLButtonElement)
    buttons[(at + step + buttons.length) % buttons.length]?.focus()
    event.preventDefault()
  }

  #act(action: string) {
    this.dispatchEvent(new CustomEvent('act', { detail: action }))
  }

  override render() {
    const { state } = this.session
    const on = state === 'running' || state === 'booting' || state === 'paused'
    const button = (action: string, label: string, icon: unknown, enabled: boolean, press = () => this.#act(action)) =>
      html`<button class="button" aria-label=${label} title=${label} ?disabled=${!enabled} @click=${press}>
        ${icon}<span class="label">${label}</span>
      </button>`
    return html`
      <button class="button quiet icon" aria-label="Back to the start" title="Back to the start"
        @click=${() => this.dispatchEvent(new Event('back', { bubbles: true, composed: true }))}>${icons.back}</button>
      <div class="what">
        <ringlet-ring .mood=${moodOf(state)}></ringlet-ring>
        <h1>${this.name}</h1>
        <span class="state" role="status">${stateNames[state]}</span>
      </div>
      <div role="toolbar" aria-label="The machine" @keydown=${this.#walk}>
        ${
          state === 'paused'
            ? button('resume', 'Resume', icons.play, true)
            : button('pause', 'Pause', icons.pause, state === 'running' || state === 'booting')
        }
        ${button('reset', 'Reset', icons.reset, on || hasEnded(state))}
        ${button('power-off', 'Power off', icons.power, on || state === 'loading')}
        <button class="button quiet icon" aria-label="Panels" title="Panels" aria-expanded=${this.side}
          @click=${() => this.#act('side')}>${icons.side}</button>
      </div>
      <theme-button></theme-button>
    `
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'machine-bar': MachineBar
  }
}
