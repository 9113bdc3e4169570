import { css, html, LitElement, nothing } from 'lit'
import { customElement, query, state } from 'lit/decorators.js'
import { type Transport, transports } from '../worker/description.ts'
import { bytes } from './amount.ts'
import { BootEvent } from './boot-event.ts'
import { controls } from './controls.ts'
import { icons } from './icons.ts'
import { ownMachine, queryOf } from './request.ts'
import { transportTexts } from './transports.ts'

type Slot = 'kernel' | 'initrd'
const slots: readonly Slot[] = ['kernel', 'initrd']
const labels: Record<Slot, string> = { kernel: 'Kernel', initrd: 'Initial RAM disk' }
const hints: Record<Slot, string> = {
  kernel: 'bzImage or vmlinux for 32-bit x86',
  initrd: 'optional: a cpio archive, packed or not',
}

/** The form for one's own kernel: by URL, picked, or dropped anywhere on the page. */
@customElement('own-kernel')
export class OwnKernelForm extends LitElement {
  @state() private files: Partial<Record<Slot, File>> = {}
  @state() private transport: Transport = 'mmio'
  @state() private complaint = ''
  @query('form') private form!: HTMLFormElement

  static override styles = [
    controls,
    css`
      form {
        display: grid;
        gap: 18px;
        padding: 24px;
        border: 1px solid var(--line);
        border-radius: var(--radius);
      }
      h2 {
        font: 650 19px/1.25 var(--sans);
        letter-spacing: -0.015em;
      }
      h2 + p {
        margin-top: -12px;
      }
      p,
      .hint {
        color: var(--ink-2);
        font-size: 14px;
      }
      .field {
        display: grid;
        gap: 6px;
      }
      .name {
        display: flex;
        flex-wrap: wrap;
        gap: 0 8px;
        align-items: baseline;
        font-weight: 550;
        font-size: 14px;
      }
      .hint {
        font-weight: 400;
        font-size: 13px;
      }
      .row {
        display: flex;
        gap: 8px;
      }
      input,
      select {
        min-width: 0;
        width: 100%;
        min-height: 38px;
        padding: 0 11px;
        border: 1px solid var(--line-strong);
        border-radius: var(--radius-small);
        background: var(--surface);
        color: var(--ink);
        font: 14px var(--mono);
      }
      input::placeholder {
        color: var(--ink-2);
        opacity: 0.8;
      }
      select {
        font-family: var(--sans);
      }
      input[type='file'] {
        display: none;
      }
      .row .button {
        min-height: 38px;
      }
      .picked {
        flex: 1;
        display: flex;
        align-items: center;
        gap: 8px;
        min-width: 0;
        min-height: 38px;
        padding-left: 11px;
        border: 1px solid var(--accent);
        border-radius: var(--radius-small);
        background: var(--accent-wash);
        font: 14px var(--mono);
      }
      .picked svg {
        flex: none;
        width: 16px;
      }
      .picked span {
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .picked .size {
        flex: none;
        color: var(--ink-2);
      }
      .picked .button {
        margin-left: auto;
      }
      .pair {
        display: grid;
        grid-template-columns: 118px minmax(0, 1fr);
        gap: 14px;
      }
      .memory {
        position: relative;
      }
      .memory::after {
        content: 'MiB';
        position: absolute;
        right: 11px;
        top: 50%;
        translate: 0 -50%;
        color: var(--ink-2);
        font-size: 13px;
        pointer-events: none;
      }
      .memory input {
        appearance: textfield;
        padding-right: 44px;
      }
      .explained {
        min-height: 3em;
        margin-top: -8px;
        font-size: 13px;
      }
      .complaint {
        padding: 10px 14px;
        border-left: 4px solid var(--bad);
        border-radius: var(--radius-small);
        background: var(--bad-wash);
        color: var(--ink);
        overflow-wrap: anywhere;
        white-space: pre-line;
      }
      .submit {
        min-height: 42px;
      }
      @media (pointer: coarse) {
        input,
        select {
          min-height: 44px;
          font-size: 16px;
        }
      }
    `,
  ]

  /** Puts files where their names say they belong, and the rest where there is room. */
  take(files: readonly File[]) {
    const next = { ...this.files }
    for (const file of files) {
      const looksLikeInitrd = /initr|ramdisk|rootfs|cpio/i.test(file.name)
      const slot = looksLikeInitrd || (next.kernel && files.length > 1) ? 'initrd' : 'kernel'
      next[slot] = file
    }
    this.files = next
    this.complaint = ''
    this.updateComplete.then(() => this.renderRoot.querySelector<HTMLElement>('.submit')?.focus())
  }

  #pick(slot: Slot, event: Event) {
    const input = event.target as HTMLInputElement
    const file = input.files?.[0]
    if (file) this.files = { ...this.files, [slot]: file }
    input.value = ''
  }

  async #drop(slot: Slot) {
    this.files = { ...this.files, [slot]: undefined }
    await this.updateComplete
    this.renderRoot.querySelector<HTMLElement>(`[name=${slot}]`)?.focus()
  }

  #submit(event: Event) {
    event.preventDefault()
    const text = (name: string) => String(new FormData(this.form).get(name) ?? '').trim()
    const kernel = this.files.kernel ?? text('kernel')
    if (!kernel) return this.#complain('Give the kernel’s URL, or choose a file.', 'kernel')
    const own = {
      kernel,
      initrd: this.files.initrd ?? (text('initrd') || undefined),
      cmdline: text('cmdline'),
      memory: Number(text('memory')),
      transport: this.transport,
    }
    try {
      this.complaint = ''
      this.dispatchEvent(new BootEvent(ownMachine(own, document.baseURI), queryOf(own)))
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      this.#complain(message, /^(kernel|initrd|cmdline|memory)/.exec(message)?.[1] ?? 'kernel')
    }
  }

  async #complain(message: string, field: string) {
    this.complaint = message
    await this.updateComplete
    this.renderRoot.querySelector<HTMLElement>(`[name=${field}]`)?.focus()
  }

  #source(slot: Slot) {
    const file = this.files[slot]
    const choose = () => this.renderRoot.querySelector<HTMLInputElement>(`#${slot}-file`)?.click()
    return html`<div class="field">
      <label class="name" for=${slot}>${labels[slot]} <span class="hint">${hints[slot]}</span></label>
      <div class="row">
        ${
          file
            ? html`<div class="picked">
              ${icons.file}<span>${file.name}</span><span class="size">${bytes(file.size)}</span>
              <button type="button" class="button quiet icon" aria-label="Do not use ${file.name}"
                @click=${() => this.#drop(slot)}>${icons.cross}</button>
            </div>`
            : html`<input id=${slot} name=${slot} placeholder="https://…" inputmode="url" autocomplete="off"
                spellcheck="false" autocapitalize="off" />
              <button type="button" class="button" @click=${choose}
                aria-label="Choose a file for: ${labels[slot]}">${icons.file} File</button>`
        }
        <input type="file" id="${slot}-file" tabindex="-1" aria-hidden="true"
          @change=${(event: Event) => this.#pick(slot, event)} />
      </div>
    </div>`
  }

  override render() {
    return html`<form novalidate @submit=${this.#submit} aria-labelledby="heading">
      <h2 id="heading">Or a kernel of your own</h2>
      <p>Drop its files anywhere on this page, or say where they are.</p>
      ${slots.map(slot => this.#source(slot))}
      <div class="field">
        <label class="name" for="cmdline">Command line <span class="hint">added to what the machine needs</span></label>
        <input id="cmdline" name="cmdline" placeholder="quiet" autocomplete="off" spellcheck="false" autocapitalize="off" />
      </div>
      <div class="pair">
        <div class="field">
          <label class="name" for="memory">Memory</label>
          <div class="memory">
            <input id="memory" name="memory" type="number" min="8" max="2047" value="256" inputmode="numeric" />
          </div>
        </div>
        <div class="field">
          <label class="name" for="transport">Transport</label>
          <select id="transport" name="transport" aria-describedby="explained"
            @change=${(event: Event) => (this.transport = (event.target as HTMLSelectElement).value as Transport)}>
            ${transports.map(
              name =>
                html`<option value=${name} ?selected=${name === this.transport}>${transportTexts[name].name}</option>`,
            )}
          </select>
        </div>
      </div>
      <p id="explained" class="explained" aria-live="polite">${transportTexts[this.transport].text}</p>
      ${this.complaint ? html`<p class="complaint" role="alert">${this.complaint}</p>` : nothing}
      <button class="button submit">${icons.play} Boot this kernel</button>
    </form>`
  }
}
