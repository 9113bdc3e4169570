import { css, html, LitElement, nothing } from 'lit'
import { customElement, property, state } from 'lit/decorators.js'
import { controls } from './controls.ts'
import { icons } from './icons.ts'
import type { Outcome } from './outcome.ts'
import type { RingletTerminal } from './terminal.ts'

const copiedLines = 100

/** Under the terminal, never over its last lines: how it ended, why, and what can be done now. */
@customElement('outcome-note')
export class OutcomeNote extends LitElement {
  @property({ attribute: false }) outcome!: Outcome
  @property({ attribute: false }) terminal!: RingletTerminal
  @property({ type: Boolean }) ended = false
  /** There is no output to stand under: it takes the whole pane. */
  @property({ type: Boolean, reflect: true }) alone = false
  @state() private copied = ''

  static override styles = [
    controls,
    css`
      :host {
        display: block;
      }
      :host([alone]) {
        position: absolute;
        inset: 0;
        z-index: 2;
        display: grid;
        place-items: center;
        padding: 20px;
        background: light-dark(#fbfcfb, #090e0d);
      }
      :host([alone]) section {
        width: min(600px, 100%);
        max-height: 100%;
        padding: 24px 26px 26px;
        border: 1px solid var(--line);
        border-radius: var(--radius);
        box-shadow: inset 0 4px 0 var(--tone), var(--shadow);
      }
      section {
        display: grid;
        gap: 6px 20px;
        max-height: 60dvh;
        overflow: auto;
        padding: 16px 18px 18px;
        border-top: 1px solid var(--line);
        background: var(--surface);
        box-shadow: inset 0 3px 0 var(--tone);
      }
      section.calm {
        --tone: var(--line-strong);
      }
      section.bad {
        --tone: var(--bad);
      }
      h2 {
        font: 650 17px/1.3 var(--sans);
        letter-spacing: -0.01em;
      }
      .bad h2 {
        color: var(--bad);
      }
      p {
        max-width: 76ch;
        color: var(--ink-2);
        font-size: 14.5px;
        overflow-wrap: anywhere;
        white-space: pre-line;
      }
      code {
        display: block;
        max-width: 100%;
        color: var(--ink);
        font: 13px/1.5 var(--mono);
        overflow-wrap: anywhere;
        white-space: pre-wrap;
      }
      .actions {
        display: flex;
        flex-wrap: wrap;
        gap: 8px;
        margin-top: 10px;
      }
    `,
  ]

  #act(action: string) {
    this.dispatchEvent(new CustomEvent('act', { detail: action }))
  }

  async #copy() {
    const { title, text, detail } = this.outcome
    const report = [title, text, detail, this.terminal.lastLines(copiedLines)].filter(Boolean).join('\n\n')
    try {
      await navigator.clipboard.writeText(report)
      this.copied = 'Copied'
    } catch {
      this.copied = 'The browser did not allow copying'
    }
  }

  override render() {
    const { title, text, detail, tone } = this.outcome
    const hasLines = this.terminal.lastLines(1) !== ''
    return html`<section class=${tone} role="alert">
      <h2>${title}</h2>
      ${detail ? html`<code>${detail}</code>` : nothing}
      <p>${text}</p>
      <div class="actions">
        ${
          this.ended
            ? html`<button class="button primary" @click=${() => this.#act('reset')}>${icons.reset} ${this.alone ? 'Try again' : 'Start it again'}</button>`
            : html`<button class="button primary" @click=${() => this.#act('dismiss')}>Go on</button>`
        }
        <button class="button" @click=${this.#copy}>
          ${icons.copy} ${this.copied || (hasLines ? 'Copy the last lines' : 'Copy this message')}
        </button>
        <button class="button" @click=${() => this.dispatchEvent(new Event('back', { bubbles: true, composed: true }))}>
          ${icons.back} Back to the start
        </button>
      </div>
    </section>`
  }
}
