import { html, LitElement, nothing } from 'lit'
import { customElement, query, state } from 'lit/decorators.js'
import { BootEvent } from './boot-event.ts'
import './machine-screen.ts'
import type { MachineScreen } from './machine-screen.ts'
import { type Wish, wishOf, wishOfFiles, wishOfMedium } from './request.ts'
import { Session } from './session.ts'
import './start-screen.ts'
import type { StartScreen } from './start-screen.ts'
import { showInTab } from './tab-status.ts'

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error))

/** The whole page: the start screen, or the machine that was asked for. */
@customElement('ringlet-app')
export class App extends LitElement {
  readonly #session = new Session()
  @state() private wish: Wish | undefined
  @state() private dropping = false
  @query('start-screen') private start!: StartScreen | null
  @query('machine-screen') private screen!: MachineScreen | null

  /** No shadow tree: the terminal has to be in the document itself, where xterm's styles and its focus are. */
  protected override createRenderRoot() {
    return this
  }

  override connectedCallback() {
    super.connectedCallback()
    this.#session.addEventListener('change', () => showInTab(this.#session.state, this.wish?.machine.name))
    this.addEventListener('boot', event => this.#boot(event as BootEvent))
    this.addEventListener('back', () => this.#back())
    window.addEventListener('popstate', () => this.#followAddress())
    for (const type of ['dragenter', 'dragover'] as const) window.addEventListener(type, event => this.#dragged(event))
    window.addEventListener('dragleave', event => {
      if (!event.relatedTarget) this.dropping = false
    })
    window.addEventListener('drop', event => this.#dropped(event))
    showInTab('empty', undefined)
    this.#session.warm()
    this.#followAddress()
  }

  /** Boots what the address asks for, or shows the start screen. */
  async #followAddress() {
    await this.#leave()
    const address = location.search
    try {
      const wish = await wishOf(new URLSearchParams(address), document.baseURI)
      if (wish && location.search === address) await this.#run(wish)
    } catch (error) {
      await this.updateComplete
      this.start?.complain(messageOf(error))
    }
  }

  async #boot({ wish, address }: BootEvent) {
    try {
      const ready = wish ?? (await wishOf(new URLSearchParams(address), document.baseURI))
      if (!ready) return
      history.pushState(null, '', address ?? location.pathname)
      await this.#run(ready)
    } catch (error) {
      this.start?.complain(messageOf(error))
    }
  }

  async #run(wish: Wish) {
    this.wish = wish
    await this.updateComplete
    await this.screen?.boot(this.#session)
  }

  async #back() {
    history.pushState(null, '', location.pathname)
    await this.#leave()
  }

  async #leave() {
    if (!this.wish) return
    await this.#session.close()
    this.wish = undefined
    this.#session.warm()
    await this.updateComplete
    this.start?.focus()
  }

  #dragged(event: DragEvent) {
    if (!event.dataTransfer?.types.includes('Files')) return
    event.preventDefault()
    event.dataTransfer.dropEffect = this.wish ? 'none' : 'copy'
    this.dropping = !this.wish
  }

  async #dropped(event: DragEvent) {
    if (!event.dataTransfer?.types.includes('Files')) return
    event.preventDefault()
    this.dropping = false
    if (this.wish) return
    const files = [...event.dataTransfer.files]
    const description = files.find(file => file.name.endsWith('.json'))
    try {
      const wish = description
        ? await wishOfFiles(description, files, document.baseURI)
        : await wishOfMedium(files, document.baseURI)
      if (wish) await this.#boot(new BootEvent(wish))
      else this.start?.take(files)
    } catch (error) {
      this.start?.complain(messageOf(error))
    }
  }

  override render() {
    return html`
      ${
        this.wish
          ? html`<machine-screen .session=${this.#session} .wish=${this.wish}></machine-screen>`
          : html`<start-screen></start-screen>`
      }
      ${this.dropping ? html`<div class="drop-here">Drop a kernel, an initrd, a CD or disk image, or a machine description</div>` : nothing}
    `
  }
}
