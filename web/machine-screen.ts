import { css, html, LitElement, nothing } from 'lit'
import { customElement, property, query, state } from 'lit/decorators.js'
import './boot-progress.ts'
import { controls } from './controls.ts'
import { Follow } from './follow.ts'
import { icons } from './icons.ts'
import './key-bar.ts'
import './machine-bar.ts'
import type { MachineBar } from './machine-bar.ts'
import './outcome-note.ts'
import { outcomeOf } from './outcome.ts'
import type { Wish } from './request.ts'
import { hasEnded, type Session } from './session.ts'
import './side-panel.ts'

const wide = matchMedia('(min-width: 1180px)')

/** A machine: its bar, its terminal, what is said over it, and the panels at the side. */
@customElement('machine-screen')
export class MachineScreen extends LitElement {
  @property({ attribute: false }) session!: Session
  @property({ attribute: false }) wish!: Wish
  @state() private side = wide.matches
  @query('machine-bar') private bar!: MachineBar
  readonly #terminal = document.createElement('ringlet-terminal')
  protected readonly follow = new Follow(this, () => this.session)

  static override styles = [
    controls,
    css`
      :host {
        display: grid;
        grid-template: auto minmax(0, 1fr) auto / minmax(0, 1fr) auto;
        height: var(--visible-height, 100dvh);
        background: var(--ground);
      }
      machine-bar {
        grid-column: 1 / -1;
      }
      .pane {
        position: relative;
        display: grid;
        grid-template-rows: minmax(0, 1fr) auto;
        min-width: 0;
        margin: 0 10px 10px;
        overflow: hidden;
        border: 1px solid var(--line);
        border-radius: var(--radius);
        background: light-dark(#fbfcfb, #090e0d);
        transition: border-color var(--quick);
      }
      .pane:focus-within {
        border-color: var(--accent);
      }
      .pane.still ::slotted(*) {
        opacity: 0.6;
      }
      boot-progress {
        position: absolute;
        inset: 0;
        z-index: 2;
      }
      .paused {
        position: absolute;
        z-index: 2;
        top: 14px;
        right: 18px;
      }
      side-panel {
        margin: 0 10px 10px 0;
      }
      key-bar {
        grid-column: 1 / -1;
      }
      @media (max-width: 760px) {
        .pane {
          margin: 0;
          border-width: 1px 0 0;
          border-radius: 0;
        }
        side-panel {
          position: fixed;
          inset: auto 0 0;
          z-index: 5;
          max-height: 70dvh;
          margin: 0;
        }
      }
    `,
  ]

  override connectedCallback() {
    super.connectedCallback()
    const terminal = this.#terminal
    // In the document's own tree, shown through a slot.
    this.append(terminal)
    terminal.addEventListener('typed', event => this.session.type((event as CustomEvent).detail))
    terminal.addEventListener('resized', () => this.session.resize(terminal.columns, terminal.rows))
    terminal.addEventListener('leave', () => this.bar.focus())
    this.addEventListener('keydown', this.#enter)
    visualViewport?.addEventListener('resize', this.#fitKeyboard)
  }

  override disconnectedCallback() {
    super.disconnectedCallback()
    visualViewport?.removeEventListener('resize', this.#fitKeyboard)
    this.#terminal.dispose()
  }

  async boot(session: Session) {
    this.#terminal.focus()
    await session.boot({ ...this.wish, columns: this.#terminal.columns, rows: this.#terminal.rows }, this.#terminal)
  }

  /** The way back in; the terminal itself takes care of the way out. */
  readonly #enter = (event: KeyboardEvent) => {
    if (event.key !== 'F6' || !event.ctrlKey || event.defaultPrevented) return
    event.preventDefault()
    this.#terminal.focus()
  }

  /** iOS lays its keyboard over the page instead of resizing it. */
  readonly #fitKeyboard = () => {
    if (visualViewport) this.style.setProperty('--visible-height', `${visualViewport.height}px`)
  }

  readonly #closeSide = () => {
    this.side = false
    this.bar.focusPanels()
  }

  async #act(action: string) {
    const { session } = this
    if (action === 'pause') session.pause()
    else if (action === 'resume') session.resume()
    else if (action === 'power-off') await session.powerOff()
    else if (action === 'reset') await session.reset()
    else if (action === 'dismiss') session.dismiss()
    else if (action === 'side') this.side = !this.side
    if (action === 'resume' || action === 'reset' || action === 'dismiss') this.#terminal.focus()
  }

  override render() {
    const { session, wish } = this
    const loading = (session.state === 'loading' || session.state === 'booting') && !session.spoke
    const outcome = outcomeOf(session)
    return html`
      <machine-bar .session=${session} .name=${wish.machine.name ?? 'Linux'} ?side=${this.side}
        @act=${(event: CustomEvent<string>) => this.#act(event.detail)}></machine-bar>
      <div class="pane ${session.state === 'paused' ? 'still' : ''}">
        <slot></slot>
        ${loading ? html`<boot-progress .session=${session}></boot-progress>` : nothing}
        ${
          session.state === 'paused'
            ? html`<button class="button primary paused" @click=${() => this.#act('resume')}>${icons.play} Resume</button>`
            : nothing
        }
        ${
          outcome
            ? html`<outcome-note .outcome=${outcome} .terminal=${this.#terminal} .ended=${hasEnded(session.state)} .alone=${session.state === 'failed' && !session.spoke}
                @act=${(event: CustomEvent<string>) => this.#act(event.detail)}></outcome-note>`
            : nothing
        }
      </div>
      ${
        this.side
          ? html`<side-panel .session=${session} .machine=${wish.machine} .terminal=${this.#terminal}
              @close=${this.#closeSide}></side-panel>`
          : nothing
      }
      <key-bar .terminal=${this.#terminal}></key-bar>
    `
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'machine-screen': MachineScreen
  }
}
