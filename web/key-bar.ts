import { css, html, LitElement } from 'lit'
import { customElement, property } from 'lit/decorators.js'
import { controls } from './controls.ts'
import { Follow } from './follow.ts'
import type { RingletTerminal } from './terminal.ts'

type Press = (terminal: RingletTerminal) => void

const keys: readonly (readonly [label: string, name: string, press: Press])[] = [
  ['Esc', 'Escape', terminal => terminal.send('\x1b')],
  ['Tab', 'Tab', terminal => terminal.send('\t')],
  [
    'Ctrl',
    'Control with the next key',
    terminal => {
      terminal.control = !terminal.control
    },
  ],
  ['↑', 'Up', terminal => terminal.sendArrow('A')],
  ['↓', 'Down', terminal => terminal.sendArrow('B')],
  ['←', 'Left', terminal => terminal.sendArrow('D')],
  ['→', 'Right', terminal => terminal.sendArrow('C')],
  ['|', 'Bar', terminal => terminal.send('|')],
  ['/', 'Slash', terminal => terminal.send('/')],
  ['-', 'Hyphen', terminal => terminal.send('-')],
  ['~', 'Tilde', terminal => terminal.send('~')],
]

/** The keys that touch keyboards lack. */
@customElement('key-bar')
export class KeyBar extends LitElement {
  @property({ attribute: false }) terminal!: RingletTerminal
  protected readonly follow = new Follow(this, () => this.terminal, 'control')

  static override styles = [
    controls,
    css`
      :host {
        display: none;
      }
      @media (pointer: coarse), (max-width: 640px) {
        :host {
          display: block;
        }
      }
      div {
        display: flex;
        gap: 5px;
        overflow-x: auto;
        padding: 6px 8px calc(6px + env(safe-area-inset-bottom));
        background: var(--ground);
        border-top: 1px solid var(--line);
        scrollbar-width: none;
      }
      button {
        flex: 1 0 auto;
        min-width: 40px;
        height: 44px;
        padding: 0 8px;
        border: 1px solid var(--line);
        border-radius: var(--radius-small);
        background: var(--surface);
        font: 500 15px/1 var(--mono);
        touch-action: manipulation;
      }
      button:active,
      button[aria-pressed='true'] {
        border-color: transparent;
        background: var(--accent);
        color: var(--on-accent);
      }
    `,
  ]

  override render() {
    // Keeping the focus where it is keeps the touch keyboard up.
    return html`<div role="group" aria-label="Keys" @pointerdown=${(event: Event) => event.preventDefault()}>
      ${keys.map(
        ([label, name, press]) =>
          html`<button tabindex="-1" aria-label=${name} aria-pressed=${label === 'Ctrl' ? this.terminal.control : undefined}
            @click=${() => press(this.terminal)}>${label}</button>`,
      )}
    </div>`
  }
}
