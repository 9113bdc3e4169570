import { css, html, LitElement, type TemplateResult } from 'lit'
import { customElement, property, state } from 'lit/decorators.js'
import type { MachineDescription } from '../worker/api.ts'
import { controls } from './controls.ts'
import { icons } from './icons.ts'
import './disks-panel.ts'
import './keys-panel.ts'
import './machine-panel.ts'
import './network-panel.ts'
import type { Session } from './session.ts'
import type { RingletTerminal } from './terminal.ts'

/** What a panel is handed. */
export interface Shown {
  readonly session: Session
  readonly machine: MachineDescription
  readonly terminal: RingletTerminal
}

/** The tabs, in order. A new panel is one line here. */
const panels: readonly { readonly id: string; readonly label: string; render(shown: Shown): TemplateResult }[] = [
  {
    id: 'machine',
    label: 'Machine',
    render: ({ session, machine }) => html`<machine-panel .session=${session} .machine=${machine}></machine-panel>`,
  },
  {
    id: 'network',
    label: 'Network',
    render: ({ session }) => html`<network-panel .session=${session}></network-panel>`,
  },
  { id: 'disks', label: 'Disks', render: ({ session }) => html`<disks-panel .session=${session}></disks-panel>` },
  { id: 'keys', label: 'Keys', render: ({ terminal }) => html`<keys-panel .terminal=${terminal}></keys-panel>` },
]

@customElement('side-panel')
export class SidePanel extends LitElement implements Shown {
  @property({ attribute: false }) session!: Session
  @property({ attribute: false }) machine!: MachineDescription
  @property({ attribute: false }) terminal!: RingletTerminal
  @state() private open = panels[0]!

  static override styles = [
    controls,
    css`
      :host {
        display: grid;
        grid-template: auto minmax(0, 1fr) / minmax(0, 1fr);
        width: 352px;
        overflow: hidden;
        border: 1px solid var(--line);
        border-radius: var(--radius);
        background: var(--surface);
      }
      .tabs {
        display: flex;
        align-items: center;
        padding: 6px 8px 0;
        border-bottom: 1px solid var(--line);
      }
      [role='tablist'] {
        display: flex;
        flex: 1;
        overflow-x: auto;
        scrollbar-width: none;
      }
      [role='tab'] {
        flex: none;
        min-height: 38px;
        padding: 0 10px;
        border: 0;
        border-bottom: 2px solid transparent;
        background: none;
        color: var(--ink-2);
        font: 550 14px/1 var(--sans);
        cursor: pointer;
      }
      [role='tab']:hover {
        color: var(--ink);
      }
      [role='tab'][aria-selected='true'] {
        border-color: var(--accent);
        color: var(--ink);
      }
      [role='tab']:focus-visible {
        outline-offset: -4px;
      }
      [role='tabpanel'] {
        overflow: auto;
        padding: 18px;
      }
      @media (max-width: 760px) {
        :host {
          width: auto;
          border-radius: var(--radius) var(--radius) 0 0;
          box-shadow: 0 -12px 40px -12px #0008;
        }
      }
    `,
  ]

  async #walk(event: KeyboardEvent) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
    if (!step) return
    event.preventDefault()
    this.open = panels[(panels.indexOf(this.open) + step + panels.length) % panels.length]!
    await this.updateComplete
    this.renderRoot.querySelector<HTMLElement>('[aria-selected=true]')?.focus()
  }

  override render() {
    return html`
      <div class="tabs">
        <div role="tablist" aria-label="Panels" @keydown=${this.#walk}>
          ${panels.map(panel => {
            const open = panel === this.open
            return html`<button role="tab" id="tab-${panel.id}" aria-selected=${open} aria-controls="panel"
              tabindex=${open ? 0 : -1} @click=${() => (this.open = panel)}>${panel.label}</button>`
          })}
        </div>
        <button class="button quiet icon" aria-label="Close the panels"
          @click=${() => this.dispatchEvent(new Event('close'))}>${icons.cross}</button>
      </div>
      <div role="tabpanel" id="panel" tabindex="0" aria-labelledby="tab-${this.open.id}">${this.open.render(this)}</div>
    `
  }
}
