import { css, html, LitElement } from 'lit'
import { customElement, property } from 'lit/decorators.js'
import { controls } from './controls.ts'
import type { RingletTerminal } from './terminal.ts'

const isMac = /Mac|iP(hone|ad)/.test(navigator.platform)

/** The few keys the guest does not get, and help for those who do not see the terminal. */
@customElement('keys-panel')
export class KeysPanel extends LitElement {
  @property({ attribute: false }) terminal!: RingletTerminal

  static override styles = [
    controls,
    css`
      :host {
        display: grid;
        gap: 20px;
        font-size: 14px;
      }
      dl {
        display: grid;
        gap: 14px;
        margin: 0;
      }
      dd {
        margin: 5px 0 0;
        color: var(--ink-2);
      }
      p {
        color: var(--ink-2);
      }
      label {
        display: grid;
        grid-template-columns: auto 1fr;
        gap: 4px 10px;
        align-items: baseline;
        cursor: pointer;
      }
      input {
        accent-color: var(--accent);
      }
    `,
  ]

  override render() {
    return html`
      <p>In the terminal every key goes to the guest, Tab and Escape too. Only these do not:</p>
      <dl>
        <div>
          <dt><kbd>Ctrl</kbd> <kbd>F6</kbd></dt>
          <dd>Out of the terminal, to the switches; again, back into it.</dd>
        </div>
        <div>
          <dt>${isMac ? html`<kbd>⌘</kbd> <kbd>C</kbd>` : html`<kbd>Ctrl</kbd> <kbd>Shift</kbd> <kbd>C</kbd>`}</dt>
          <dd>Copies what is selected. Hold <kbd>Shift</kbd> to select where a program uses the mouse.</dd>
        </div>
        <div>
          <dt>${isMac ? html`<kbd>⌘</kbd> <kbd>V</kbd>` : html`<kbd>Ctrl</kbd> <kbd>Shift</kbd> <kbd>V</kbd>`}</dt>
          <dd>Pastes. A program that asks for it is told that this is pasted text.</dd>
        </div>
      </dl>
      <label>
        <input type="checkbox" .checked=${this.terminal.announces}
          @change=${(event: Event) => {
            this.terminal.announces = (event.target as HTMLInputElement).checked
          }} />
        <span>Read the output to a screen reader</span>
      </label>
    `
  }
}
