/**
 * The document that xterm is given, so that it works under `style-src 'self'`.
 *
 * xterm makes `<style>` elements and sets `style` attributes, both of which that policy refuses. Through this document
 * it gets, in place of `<style>`, an element that adopts its text as a constructed sheet, and spans whose `style`
 * attribute goes through the CSSOM: both are allowed, for they cannot come from injected markup.
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

function createElement(name: string, options?: ElementCreationOptions) {
  if (name === 'style') return native('ringlet-adopted-style')
  const element = native(name, options)
  if (name === 'span') element.setAttribute = setAttribute
  return element
}

export const terminalDocument = new Proxy(document, {
  get(target, name) {
    if (name === 'createElement') return createElement
    const value = Reflect.get(target, name, target)
    return typeof value === 'function' ? value.bind(target) : value
  },
})

/**
 * Runs `open` with `document.createElement` itself replaced: xterm 6 takes the page's document, not the one it is given,
 * for the colours of its scroll bar (`mainDocument` in its CoreBrowserTerminal), and makes that element while it opens.
 */
export function withAdoptedStyles(open: () => void) {
  document.createElement = createElement as typeof document.createElement
  try {
    open()
  } finally {
    // Uncovers the prototype's own.
    Reflect.deleteProperty(document, 'createElement')
  }
}
