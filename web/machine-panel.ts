import { css, html, LitElement, nothing } from 'lit'
import { customElement, property } from 'lit/decorators.js'
import type { MachineDescription } from '../worker/api.ts'
import { bytes, milliseconds } from './amount.ts'
import { controls } from './controls.ts'
import { facts } from './facts.ts'
import { Follow } from './follow.ts'
import type { Session } from './session.ts'
import { transportTexts } from './transports.ts'

/** What the machine is made of, and what its boot took. */
@customElement('machine-panel')
export class MachinePanel extends LitElement {
  @property({ attribute: false }) session!: Session
  @property({ attribute: false }) machine!: MachineDescription
  protected readonly follow = new Follow(this, () => this.session)

  static override styles = [
    controls,
    facts,
    css`
      ul {
        display: grid;
        gap: 8px;
        margin: 0;
        padding: 0;
        list-style: none;
      }
      .command {
        grid-column: 1 / -1;
        text-align: left;
        font: 12.5px/1.5 var(--mono);
      }
      li {
        display: flex;
        justify-content: space-between;
        gap: 12px;
        padding: 9px 12px;
        border-radius: var(--radius-small);
        background: var(--sunken);
      }
      li .how {
        color: var(--ink-2);
      }
      meter {
        grid-column: 1 / -1;
        width: 100%;
        height: 5px;
        margin-top: -4px;
        border: 0;
        border-radius: 3px;
        background: var(--sunken);
        appearance: none;
      }
      meter::-webkit-meter-inner-element {
        display: block;
      }
      meter::-webkit-meter-bar {
        height: 5px;
        border: 0;
        border-radius: 3px;
        background: var(--sunken);
      }
      meter::-webkit-meter-optimum-value {
        border-radius: 3px;
        background: var(--accent);
      }
      meter::-moz-meter-bar {
        border-radius: 3px;
        background: var(--accent);
      }
    `,
  ]

  override render() {
    const { memory, kernel, initrd, cmdline, devices } = this.machine
    const phases = Object.entries(this.session.timing)
    const longest = Math.max(...phases.map(([, took]) => took))
    const loaded = [...this.session.progress.values()].reduce((sum, { done }) => sum + done, 0)
    return html`
      <section>
        <h3>Made of</h3>
        <dl>
          <dt>Memory</dt>
          <dd>${memory} MiB</dd>
          ${kernel ? row('Kernel', lastPart(kernel.url)) : nothing}
          ${initrd ? row('Initial RAM disk', lastPart(initrd.url)) : nothing}
          ${loaded > 0 ? row('Loaded', bytes(loaded)) : nothing}
          ${cmdline ? html`<dt>Command line</dt><dd class="command">${cmdline}</dd>` : nothing}
        </dl>
      </section>
      <section>
        <h3>Virtio devices</h3>
        <ul>
          ${devices.map(
            ({ type, transport }) =>
              html`<li><span>${type}</span><span class="how">${transportTexts[transport].name}</span></li>`,
          )}
        </ul>
      </section>
      ${
        phases.length > 0
          ? html`<section>
            <h3>Boot</h3>
            <dl>
              ${phases.map(
                ([name, took]) => html`<dt>${name}</dt><dd>${milliseconds(took)}</dd>
                  <meter min="0" max=${longest} .value=${took} aria-label=${name}></meter>`,
              )}
            </dl>
          </section>`
          : nothing
      }
    `
  }
}

const row = (name: string, value: string) => html`<dt>${name}</dt><dd>${value}</dd>`
const lastPart = (url: string) => decodeURIComponent(url.replace(/[?#].*$/, '').replace(/^.*[/:]/, ''))
