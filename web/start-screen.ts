import { css, html, LitElement, nothing } from 'lit'
import { customElement, query, state } from 'lit/decorators.js'
import { bytes } from './amount.ts'
import { BootEvent } from './boot-event.ts'
import { controls } from './controls.ts'
import { icons } from './icons.ts'
import './own-kernel.ts'
import type { OwnKernelForm } from './own-kernel.ts'
import './ring.ts'
import './theme-button.ts'

/** One entry of `machines/index.json`: a description beside it and what its card says. */
interface Listed {
  readonly machine: string
  readonly title: string
  readonly text: string
  /** What booting it downloads, in bytes. */
  readonly download?: number
}

const list = 'machines/index.json'

@customElement('start-screen')
export class StartScreen extends LitElement {
  @state() private machines: readonly Listed[] = []
  @state() private complaint = ''
  @state() private asked = ''
  @query('own-kernel') private form!: OwnKernelForm
  @query('.card .primary') private first!: HTMLElement | null
  #loaded: Promise<void> | undefined

  static override styles = [
    controls,
    css`
      :host {
        display: grid;
        grid-template-rows: auto 1fr auto;
        gap: clamp(20px, 4vh, 44px);
        max-width: 1080px;
        min-height: 100dvh;
        margin: 0 auto;
        padding: 20px clamp(16px, 4vw, 40px) 28px;
      }
      header {
        display: flex;
        align-items: center;
        gap: 10px;
      }
      .mark {
        margin-right: auto;
        font: 650 18px/1 var(--sans);
        letter-spacing: -0.01em;
        display: inline-flex;
        align-items: center;
        gap: 10px;
      }
      main {
        display: grid;
        grid-template-columns: minmax(0, 1.08fr) minmax(0, 1fr);
        gap: clamp(24px, 4vw, 56px);
        align-items: start;
      }
      h1 {
        max-width: 13ch;
        font: 680 clamp(34px, 5.2vw, 56px) / 1.04 var(--sans);
        letter-spacing: -0.035em;
        text-wrap: balance;
      }
      .lead {
        max-width: 44ch;
        margin: 18px 0 30px;
        color: var(--ink-2);
        font-size: 17px;
      }
      .card {
        position: relative;
        display: grid;
        grid-template-columns: auto 1fr;
        gap: 4px 22px;
        align-items: center;
        padding: 24px;
        border: 1px solid var(--line);
        border-radius: var(--radius);
        background: var(--surface);
        box-shadow: var(--shadow);
        transition: border-color var(--quick);
      }
      .card + .card {
        margin-top: 14px;
      }
      .card:hover,
      .card:focus-within {
        border-color: var(--accent);
      }
      .card ringlet-ring {
        grid-row: span 3;
        width: clamp(76px, 11vw, 112px);
        --ring-width: 9;
      }
      .card:not(.first) {
        grid-template-columns: minmax(0, 1fr) auto;
        padding: 16px 24px;
        box-shadow: none;
      }
      .card:not(.first) h2 {
        font-size: 16px;
      }
      .card:not(.first) .button {
        grid-area: 1 / 2 / span 2;
        margin: 0;
      }
      .card h2 {
        font: 650 19px/1.25 var(--sans);
        letter-spacing: -0.015em;
      }
      .card p {
        color: var(--ink-2);
        font-size: 14.5px;
      }
      .card .button {
        justify-self: start;
        margin-top: 12px;
      }
      .first .button {
        min-height: 46px;
        padding: 0 22px;
        font-size: 16px;
        font-weight: 600;
      }
      /* The whole card is the button. */
      .card .button::after {
        content: '';
        position: absolute;
        inset: 0;
        border-radius: var(--radius);
      }
      .download {
        margin-left: 2px;
        font-weight: 400;
        opacity: 0.85;
      }
      .complaint {
        display: grid;
        grid-template-columns: 1fr auto;
        gap: 12px;
        margin-bottom: 20px;
        padding: 14px 14px 14px 18px;
        border-left: 4px solid var(--bad);
        border-radius: var(--radius-small);
        background: var(--bad-wash);
        overflow-wrap: anywhere;
        white-space: pre-line;
      }
      .complaint:focus {
        outline: none;
      }
      footer {
        color: var(--ink-2);
        font-size: 13.5px;
      }
      @media (max-width: 860px) {
        main {
          grid-template-columns: minmax(0, 1fr);
        }
      }
      @media (max-width: 480px) {
        .lead {
          margin: 14px 0 22px;
          font-size: 16px;
        }
        .card {
          padding: 18px;
          gap: 4px 16px;
        }
        .card ringlet-ring {
          grid-row: 1;
          width: 52px;
        }
        .card p {
          grid-column: 1 / -1;
        }
        .first .button {
          grid-column: 1 / -1;
        }
        .card:not(.first) {
          padding: 16px 18px;
        }
        .card:not(.first) .button {
          grid-area: 1 / 2;
        }
        .card:not(.first) .download {
          display: none;
        }
        .card p {
          margin-top: 8px;
        }
        .first .button {
          justify-self: stretch;
        }
      }
    `,
  ]

  override connectedCallback() {
    super.connectedCallback()
    this.#loaded = this.#load()
  }

  async #load() {
    try {
      const response = await fetch(new URL(list, document.baseURI))
      if (!response.ok) throw new Error(`${response.status} ${response.statusText}`)
      this.machines = (await response.json()).machines
    } catch {
      this.complain(`The list of ready-made machines (${list}) could not be loaded. Reload the page to try again.`)
    }
  }

  /** Says what went wrong, where it is seen and heard. */
  async complain(message: string) {
    this.asked = ''
    this.complaint = message
    await this.updateComplete
    this.renderRoot.querySelector<HTMLElement>('.complaint')?.focus()
  }

  take(files: readonly File[]) {
    this.complaint = ''
    this.form.take(files)
  }

  /** To the first machine, once it is there, unless the user has gone elsewhere meanwhile. */
  override async focus() {
    await this.#loaded
    await this.updateComplete
    if (!this.matches(':focus-within')) this.first?.focus()
  }

  #boot(machine: string) {
    this.complaint = ''
    this.asked = machine
    const url = new URL(machine, new URL(list, document.baseURI)).href
    const here = new URL('.', document.baseURI).href
    const address = url.startsWith(here) ? url.slice(here.length) : url
    this.dispatchEvent(new BootEvent(undefined, `?machine=${encodeURI(address)}`))
  }

  #card({ machine, title, text, download }: Listed, index: number) {
    const first = index === 0
    return html`<article class="card ${first ? 'first' : ''}">
      ${first ? html`<ringlet-ring .slots=${24} .mood=${this.asked === machine ? 'busy' : 'idle'}></ringlet-ring>` : nothing}
      <h2>${title}</h2>
      <p>${text}</p>
      <button class="button ${first ? 'primary' : ''}" ?disabled=${this.asked === machine} @click=${() => this.#boot(machine)}>
        ${icons.play} <span>Boot<span class=${first ? '' : 'unseen'}> ${first ? 'Linux' : title}</span></span>
        ${download ? html`<span class="download">${bytes(download)}</span>` : nothing}
      </button>
    </article>`
  }

  override render() {
    return html`
      <header>
        <span class="mark"><ringlet-ring mood="well"></ringlet-ring>Ringlet</span>
        <theme-button></theme-button>
      </header>
      <main>
        <section aria-labelledby="title">
          <h1 id="title">A Linux computer in this tab.</h1>
          <p class="lead">
            A real kernel on a PC that exists only here, with every device it talks to a virtio device. Nothing is
            installed, and nothing you type leaves your browser.
          </p>
          ${
            this.complaint
              ? html`<div class="complaint" role="alert" tabindex="-1">
                <span>${this.complaint}</span>
                <button class="button quiet icon" aria-label="Dismiss" @click=${() => (this.complaint = '')}>
                  ${icons.cross}
                </button>
              </div>`
              : nothing
          }
          ${this.machines.map((machine, index) => this.#card(machine, index))}
        </section>
        <own-kernel></own-kernel>
      </main>
      <footer>
        32-bit x86, one processor. Close the tab and the machine is gone; its address boots it again, with the disks
        that are kept here.
      </footer>
    `
  }
}
