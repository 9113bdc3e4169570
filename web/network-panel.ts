import { css, html, LitElement, nothing } from 'lit'
import { customElement, property, state } from 'lit/decorators.js'
import type { NicStatus } from '../worker/api.ts'
import { bytes } from './amount.ts'
import { controls } from './controls.ts'
import { facts } from './facts.ts'
import type { Session } from './session.ts'

/** How often the counters are read while they are shown, in milliseconds. */
const PERIOD = 500

/** Each network card: its plug, what it is connected to, what went through it, and captures. */
@customElement('network-panel')
export class NetworkPanel extends LitElement {
  @property({ attribute: false }) session!: Session
  @state() private cards: readonly NicStatus[] = []
  #timer: ReturnType<typeof setInterval> | undefined
  readonly #captures = new Map<number, () => Promise<Blob>>()

  static override styles = [
    controls,
    facts,
    css`
      h3 {
        font-family: var(--mono);
      }
      label {
        display: flex;
        gap: 10px;
        align-items: center;
        margin-bottom: 12px;
        cursor: pointer;
      }
      input {
        accent-color: var(--accent);
      }
      dl {
        margin-bottom: 14px;
      }
    `,
  ]

  override connectedCallback() {
    super.connectedCallback()
    this.#timer = setInterval(() => void this.#read(), PERIOD)
    void this.#read()
  }

  override disconnectedCallback() {
    super.disconnectedCallback()
    clearInterval(this.#timer)
  }

  async #read() {
    this.cards = await this.session.networks()
  }

  async #plug(card: number, event: Event) {
    await this.session.plugNetwork(card, (event.target as HTMLInputElement).checked)
    await this.#read()
  }

  async #capture(card: number) {
    const stop = this.#captures.get(card)
    if (!stop) {
      this.#captures.set(card, await this.session.captureNetwork(card))
      return this.#read()
    }
    this.#captures.delete(card)
    const link = document.createElement('a')
    link.href = URL.createObjectURL(await stop())
    link.download = `ringlet-eth${card}.pcapng`
    link.click()
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000)
    return this.#read()
  }

  override render() {
    if (this.cards.length === 0) return html`<p>This machine has no network card.</p>`
    return this.cards.map((card, index) => {
      const { mac, plugged, counters, backlog, lost } = card
      const dropped = lost + counters.rxDropped + counters.rxTooLong + counters.txMalformed + counters.txDropped
      return html`<section>
        <h3>${mac}</h3>
        <label>
          <input type="checkbox" .checked=${plugged} @change=${(event: Event) => this.#plug(index, event)} />
          <span>Cable plugged in</span>
        </label>
        <dl>
          <dt>Link</dt>
          <dd>${card.up ? 'up' : 'down'}</dd>
          ${where(card)}
          <dt>Received</dt>
          <dd>${bytes(counters.rxBytes)} in ${counters.rxPackets} packets</dd>
          <dt>Sent</dt>
          <dd>${bytes(counters.txBytes)} in ${counters.txPackets} packets</dd>
          <dt>Waiting for the guest</dt>
          <dd>${backlog}</dd>
          <dt>Lost</dt>
          <dd>${dropped}</dd>
        </dl>
        <button class="button" aria-pressed=${card.capturing} @click=${() => this.#capture(index)}>
          ${card.capturing ? 'Stop and save the capture' : 'Capture for Wireshark'}
        </button>
      </section>`
    })
  }
}

function where({ link, to, peers }: NicStatus) {
  if (link === 'none') return nothing
  if (link === 'relay') return html`<dt>Relay</dt><dd>${to}</dd>`
  return html`<dt>LAN</dt><dd>${to}, ${peers} other ${peers === 1 ? 'tab' : 'tabs'}</dd>`
}
