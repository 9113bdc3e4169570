/**
 * Lets xterm 6 work under `style-src 'self'`.
 *
 * It makes `<style>` elements and sets `style` attributes, both of which that policy refuses, and it takes the page's own
 * `document` for most of them whatever `documentOverride` says. So `createElement` gives, in place of `<style>`, an
 * element that adopts its text as a constructed sheet, and spans whose `style` attribute goes through the CSSOM. Both are
 * allowed, for neither can come from injected markup.
 */

class AdoptedStyle extends HTMLElement {
  readonly #sheet = new CSSStyleSheet()

  override set textContent(text: string) {
    this.#sheet.replaceSync(text)
  }

  connectedCallback() {
    document.adoptedStyleSheets.push(this.#sheet)
  }

  disconnectedCallback() {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter(sheet => sheet !== this.#sheet)
  }
}
customElements.define('ringlet-adopted-style', AdoptedStyle)

function setAttribute(this: HTMLElement, name: string, value: string) {
  if (name === 'style') this.style.cssText = value
  else Element.prototype.setAttribute.call(this, name, value)
}

const native = document.createElement.bind(document) as (name: string, options?: ElementCreationOptions) => HTMLElement

document.createElement = ((name: string, options?: ElementCreationOptions) => {
  if (name === 'style') return native('ringlet-adopted-style')
  const element = native(name, options)
  if (name === 'span') element.setAttribute = setAttribute
  return element
}) as typeof document.createElement
