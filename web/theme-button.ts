import { css, html, LitElement } from 'lit'
import { customElement, state } from 'lit/decorators.js'
import { controls } from './controls.ts'
import { icons } from './icons.ts'
import { currentTheme, onThemeChange, setTheme, type Theme, themes } from './theme.ts'

const names: Record<Theme, string> = { system: 'as the system', light: 'light', dark: 'dark' }
const drawings = { system: icons.auto, light: icons.sun, dark: icons.moon }

/** One button that goes round: as the system, light, dark. */
@customElement('theme-button')
export class ThemeButton extends LitElement {
  @state() private theme = currentTheme()
  #stop: (() => void) | undefined

  static override styles = [
    controls,
    css`
      :host {
        display: inline-flex;
      }
    `,
  ]

  override connectedCallback() {
    super.connectedCallback()
    this.#stop = onThemeChange(() => {
      this.theme = currentTheme()
    })
  }

  override disconnectedCallback() {
    super.disconnectedCallback()
    this.#stop?.()
  }

  override render() {
    const next = themes[(themes.indexOf(this.theme) + 1) % themes.length]!
    const label = `Colours: ${names[this.theme]}. Change to ${names[next]}.`
    return html`<button class="button quiet icon" aria-label=${label} title=${label} @click=${() => setTheme(next)}>
      ${drawings[this.theme]}
    </button>`
  }
}
