import { css, html, LitElement, nothing } from 'lit'
import { customElement, property, state } from 'lit/decorators.js'
import { bytes } from './amount.ts'
import { controls } from './controls.ts'
import { Follow } from './follow.ts'
import './ring.ts'
import type { Progress, Session } from './session.ts'
import { stateNames } from './tab-status.ts'

/** A kernel that has said nothing for so long, in milliseconds, may be talking to somebody else. */
const patience = 20_000

const verbs: Record<Progress['phase'], string> = { download: 'downloading', unpack: 'unpacking', done: 'ready' }

/** Covers the terminal until the guest speaks: every download and unpacking with its bytes. */
@customElement('boot-progress')
export class BootProgress extends LitElement {
  @property({ attribute: false }) session!: Session
  @state() private silent = false
  #timer: ReturnType<typeof setTimeout> | undefined
  protected readonly follow = new Follow(this, () => this.session)

  static override styles = [
    controls,
    css`
      :host {
        display: grid;
        place-items: center;
        overflow: auto;
        padding: 24px;
        background: light-dark(#fbfcfb, #090e0d);
      }
      .card {
        display: grid;
        justify-items: center;
        gap: 22px;
        width: min(420px, 100%);
      }
      ringlet-ring {
        width: 132px;
        --ring-width: 8;
      }
      h2 {
        font: 600 18px/1.3 var(--sans);
        letter-spacing: -0.01em;
      }
      p {
        color: var(--ink-2);
        font-size: 14px;
      }
      ul {
        display: grid;
        gap: 16px;
        width: 100%;
        margin: 0;
        padding: 0;
        list-style: none;
      }
      .line {
        display: flex;
        justify-content: space-between;
        gap: 16px;
        font-size: 14px;
      }
      .what {
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .amount {
        flex: none;
        color: var(--ink-2);
        font-variant-numeric: tabular-nums;
      }
      progress {
        display: block;
        width: 100%;
        height: 6px;
        margin-top: 7px;
        overflow: hidden;
        border: 0;
        border-radius: 3px;
        background: var(--line);
        appearance: none;
      }
      progress::-webkit-progress-bar {
        background: var(--line);
      }
      progress::-webkit-progress-value {
        border-radius: 3px;
        background: var(--accent);
      }
      progress::-moz-progress-bar {
        border-radius: 3px;
        background: var(--accent);
      }
      progress:indeterminate {
        background: repeating-linear-gradient(90deg, var(--accent) 0 10px, var(--line) 10px 16px);
      }
      progress:indeterminate::-webkit-progress-bar {
        background: none;
      }
      progress:indeterminate::-moz-progress-bar {
        background: none;
      }
    `,
  ]

  protected override updated() {
    if (this.session.state === 'booting') this.#timer ??= setTimeout(() => (this.silent = true), patience)
  }

  override disconnectedCallback() {
    super.disconnectedCallback()
    clearTimeout(this.#timer)
  }

  /** All of it as one number; undefined while a server does not say how much is coming. */
  #overall(all: readonly Progress[]) {
    let done = 0
    let total = 0
    for (const progress of all) {
      if (progress.total === undefined && progress.phase !== 'done') return undefined
      done += progress.done
      total += progress.total ?? progress.done
    }
    return total > 0 ? done / total : undefined
  }

  override render() {
    const all = [...this.session.progress.values()]
    return html`<div class="card">
      <ringlet-ring mood="busy" .slots=${32} .progress=${this.#overall(all)}></ringlet-ring>
      <h2>${this.session.state === 'booting' ? 'Starting the kernel' : stateNames[this.session.state]}…</h2>
      <ul>
        ${all.map(({ what, done, total, phase }) => {
          const known = phase === 'done' || total !== undefined
          const amount = phase !== 'done' && total ? `${bytes(done)} of ${bytes(total)}` : bytes(done)
          return html`<li>
            <div class="line"><span class="what">${what}</span><span class="amount">${verbs[phase]} · ${amount}</span></div>
            ${
              known
                ? html`<progress aria-label=${what} max="1" .value=${phase === 'done' ? 1 : Math.min(1, done / (total || 1))}></progress>`
                : html`<progress aria-label=${what}></progress>`
            }
          </li>`
        })}
      </ul>
      ${
        this.silent
          ? html`<p role="status">
            It runs, but has not said anything yet. A kernel needs a virtio console (CONFIG_VIRTIO_CONSOLE) and the
            driver of the chosen transport, or a serial port and <kbd>console=ttyS0</kbd>, to be heard here.
          </p>`
          : nothing
      }
    </div>`
  }
}
