import * as Comlink from 'comlink'
import { css, html, LitElement, nothing } from 'lit'
import { customElement, property, state } from 'lit/decorators.js'
import type { DiskEntry } from '../worker/backends/disks.ts'
import type { DisksApi } from '../worker/disks.ts'
import { bytes, bytesOf } from './amount.ts'
import { ask } from './ask.ts'
import { controls } from './controls.ts'
import { facts } from './facts.ts'
import type { Session } from './session.ts'

type SaveDialog = (options: { suggestedName: string }) => Promise<FileSystemFileHandle>

const MIB = 2 ** 20

/** The disks kept in this browser: what each takes up, and what can be done with it. */
@customElement('disks-panel')
export class DisksPanel extends LitElement {
  @property({ attribute: false }) session!: Session
  @state() private disks: readonly DiskEntry[] = []
  @state() private said = ''
  @state() private busy = false
  #worker: Worker | undefined
  #api: Comlink.Remote<DisksApi> | undefined

  static override styles = [
    controls,
    facts,
    css`
      h3 {
        margin: 0;
        color: var(--ink);
        font: 600 14px/1.4 var(--mono);
      }
      section p {
        margin: 4px 0 10px;
      }
      input {
        display: none;
      }
      [role='status']:empty {
        margin: 0;
      }
    `,
  ]

  override connectedCallback() {
    super.connectedCallback()
    this.#worker = new Worker(new URL('../worker/disks.ts', import.meta.url), { type: 'module', name: 'disks' })
    this.#api = Comlink.wrap<DisksApi>(this.#worker)
    void this.#do(api => api.forgetExport())
  }

  override disconnectedCallback() {
    super.disconnectedCallback()
    this.#api?.[Comlink.releaseProxy]()
    this.#worker?.terminate()
  }

  /** Does something to the disks, says what went wrong, and shows how they are then. */
  async #do(work: (api: Comlink.Remote<DisksApi>) => Promise<unknown>) {
    const api = this.#api
    if (!api || this.busy) return
    this.busy = true
    this.said = ''
    try {
      await work(api)
      this.said = ''
    } catch (error) {
      if ((error as Error).name !== 'AbortError') this.said = (error as Error).message
    }
    this.disks = await api.list().catch(error => {
      this.said = error.message
      return []
    })
    this.busy = false
  }

  readonly #progress = (what: string) =>
    Comlink.proxy((done: number, total: number) => {
      this.said = `${what}: ${bytes(done)} of ${bytes(total)}`
    })

  #import = ({ target }: Event) => {
    const input = target as HTMLInputElement
    const file = input.files?.[0]
    input.value = ''
    if (!file) return
    const name = prompt('What shall the disk be called?', file.name.replace(/\.(img|raw|qcow2|gz|zst)+$/g, ''))
    if (!name) return
    void this.#do(api => api.import(name, file, location.origin, undefined, this.#progress(`Copying ${file.name}`)))
  }

  #export(name: string, compress: boolean) {
    const suggestedName = `${name}.img${compress ? '.zst' : ''}`
    const pick = (window as { showSaveFilePicker?: SaveDialog }).showSaveFilePicker
    void this.#do(async api => {
      const to = await pick?.call(window, { suggestedName })
      const file = await api.export(name, to, compress, this.#progress(`Saving ${name}`))
      if (!file) return
      const link = document.createElement('a')
      link.href = URL.createObjectURL(file)
      link.download = suggestedName
      link.click()
    })
  }

  #rename(name: string) {
    const to = prompt('The disk’s new name', name)
    if (to && to !== name) void this.#do(api => api.rename(name, to))
  }

  #grow({ name, size, attached }: DiskEntry) {
    const text = prompt(
      `How large shall “${name}” be? It has ${bytes(size)}, and a disk never shrinks. Say a number and MB, GB, MiB or GiB.`,
      `${Math.ceil((size * 2) / MIB)} MiB`,
    )
    if (!text) return
    const wanted = bytesOf(text)
    // Whole pages, which is what file systems use.
    const to = wanted === undefined ? undefined : Math.ceil(wanted / 4096) * 4096
    void this.#do(async api => {
      if (to === undefined) throw new Error(`“${text}” is no size: say a number and its unit, as in 512 MiB or 2 GB.`)
      if (to <= size)
        throw new Error(`“${name}” has ${bytes(size)} already, and a disk never shrinks: say more than that.`)
      await (attached ? this.session.growDisk(name, to) : api.grow(name, to))
    })
  }

  async #sure(title: string, detail: string, yes: string, work: (api: Comlink.Remote<DisksApi>) => Promise<unknown>) {
    if ((await ask(title, detail, ['Cancel', yes])) === 1) await this.#do(work)
  }

  #row(disk: DiskEntry) {
    const { name, base, size, occupied, store, origin, attached } = disk
    const off = this.busy || attached
    return html`<section>
      <h3>${name}</h3>
      <p>
        ${bytes(size)}, ${attached ? '' : `of which ${bytes(occupied)} are `}kept here (${store === 'opfs' ? 'OPFS' : 'IndexedDB'})${
          base ? html` over <span title=${base.url}>${new URL(base.url).pathname}</span>` : nothing
        }.
        ${origin === location.origin ? nothing : html`Belongs to machines from ${origin}.`}
        ${attached ? 'In use by a machine: switch that off to save or change it. It can grow as it runs.' : nothing}
      </p>
      <div class="buttons">
        <button class="button" ?disabled=${off} @click=${() => this.#export(name, false)}>Save .img</button>
        <button class="button" ?disabled=${off} @click=${() => this.#export(name, true)}>Save .img.zst</button>
        <button class="button" ?disabled=${off} @click=${() => this.#rename(name)}>Rename</button>
        <button class="button" ?disabled=${this.busy} @click=${() => this.#grow(disk)}>Grow</button>
        <button class="button" ?disabled=${off} @click=${() =>
          this.#sure(
            `Reset “${name}”?`,
            base ? 'Everything written to it is lost; it is the image again.' : 'Everything on it is lost.',
            'Reset it',
            api => api.reset(name),
          )}>Reset</button>
        <button class="button" ?disabled=${off} @click=${() =>
          this.#sure(`Delete “${name}”?`, 'Everything written to it is lost.', 'Delete it', api =>
            api.remove(name),
          )}>Delete</button>
      </div>
    </section>`
  }

  override render() {
    return html`
      ${this.disks.length === 0 ? html`<p>No disk is kept in this browser yet.</p>` : this.disks.map(disk => this.#row(disk))}
      <div class="buttons">
        <button class="button" ?disabled=${this.busy} @click=${() => this.renderRoot.querySelector('input')?.click()}>
          Copy an image in …
        </button>
        <input type="file" accept=".img,.raw,.gz,.zst,.qcow2" tabindex="-1" aria-hidden="true" @change=${this.#import} />
        <button class="button" ?disabled=${this.busy} @click=${() => this.#do(async () => {})}>Look again</button>
      </div>
      <p role="status">${this.said}</p>
    `
  }
}
