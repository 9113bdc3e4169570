import { FitAddon } from '@xterm/addon-fit'
import { WebglAddon } from '@xterm/addon-webgl'
import { Terminal } from '@xterm/xterm'
import type { Screen } from './session.ts'
import './strict-styles.ts'
import { terminalThemes } from './terminal-theme.ts'
import { isDark, onThemeChange } from './theme.ts'

/** xterm parses one write without a pause; pieces of this size keep each pause for the page's other work short. */
const pieceSize = 16 * 1024
/** Lines kept above the screen: about 10 MB at 100 columns. */
const scrollback = 8000

const encoder = new TextEncoder()
const narrow = matchMedia('(max-width: 640px)')

/**
 * An xterm that fills this element. Events: `typed` (detail: bytes typed or pasted), `resized`, `leave` (the user asked
 * for the keyboard back).
 */
export class RingletTerminal extends HTMLElement implements Screen {
  readonly #terminal = new Terminal({
    fontFamily: 'ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace',
    fontSize: narrow.matches ? 12 : 14,
    lineHeight: 1.15,
    scrollback,
    cursorBlink: false,
    cursorInactiveStyle: 'outline',
    macOptionIsMeta: true,
    // A guest's stray control characters are not this page's errors.
    logLevel: 'off',
    theme: terminalThemes[isDark() ? 'dark' : 'light'],
  })
  readonly #fit = new FitAddon()
  readonly #resizes = new ResizeObserver(() => this.#fitSoon())
  #stopTheme: (() => void) | undefined
  #fitting = 0
  /** The next character typed is a control character: the key bar's Ctrl. */
  #control = false

  get columns() {
    return this.#terminal.cols
  }

  get rows() {
    return this.#terminal.rows
  }

  set announces(on: boolean) {
    this.#terminal.options.screenReaderMode = on
  }

  get announces() {
    return this.#terminal.options.screenReaderMode === true
  }

  get control() {
    return this.#control
  }

  set control(on: boolean) {
    this.#control = on
    this.dispatchEvent(new Event('control'))
  }

  connectedCallback() {
    const terminal = this.#terminal
    if (terminal.element) return
    terminal.loadAddon(this.#fit)
    terminal.open(this)
    this.#accelerate()
    terminal.textarea?.setAttribute('aria-label', 'Terminal of the machine. Control F6 leaves it.')
    terminal.attachCustomKeyEventHandler(event => this.#isForGuest(event))
    terminal.onData(text => this.send(text))
    terminal.onBinary(text => this.#emit(Uint8Array.from(text, char => char.charCodeAt(0))))
    terminal.onResize(() => this.dispatchEvent(new Event('resized')))
    this.#stopTheme = onThemeChange(() => {
      terminal.options.theme = terminalThemes[isDark() ? 'dark' : 'light']
    })
    this.#resizes.observe(this)
    this.#fit.fit()
  }

  dispose() {
    this.#resizes.disconnect()
    cancelAnimationFrame(this.#fitting)
    this.#stopTheme?.()
    this.#terminal.dispose()
  }

  write(bytes: Uint8Array<ArrayBuffer>) {
    return new Promise<void>(resolve => {
      if (bytes.length === 0) return resolve()
      for (let at = 0; at < bytes.length; at += pieceSize) {
        const end = at + pieceSize
        this.#terminal.write(bytes.subarray(at, end), end >= bytes.length ? resolve : undefined)
      }
    })
  }

  /** After what was written before, which xterm may not have shown yet. */
  clear() {
    this.#terminal.write('', () => this.#terminal.reset())
  }

  override focus() {
    this.#terminal.focus()
  }

  /** Text as typed: encoded, and the first character turned into a control character if Ctrl is held on the key bar. */
  send(text: string) {
    if (this.#control && text.length > 0) {
      const code = text.toUpperCase().charCodeAt(0)
      if (code >= 0x40 && code <= 0x5f) text = String.fromCharCode(code & 0x1f) + text.slice(1)
      else if (text[0] === ' ') text = `\0${text.slice(1)}`
      this.control = false
    }
    this.#emit(encoder.encode(text))
  }

  /** Arrow keys differ with the mode that the program in the terminal has set. */
  sendArrow(letter: 'A' | 'B' | 'C' | 'D') {
    this.send(`\x1b${this.#terminal.modes.applicationCursorKeysMode ? 'O' : '['}${letter}`)
  }

  /** The last `count` lines that have something on them, without the spaces after their text. */
  lastLines(count: number) {
    const { active } = this.#terminal.buffer
    const lines: string[] = []
    for (let row = 0; row < active.length; row++) {
      const line = active.getLine(row)
      const text = line?.translateToString(true) ?? ''
      if (line?.isWrapped && lines.length > 0) lines[lines.length - 1] += text
      else lines.push(text)
    }
    while (lines.at(-1) === '') lines.pop()
    return lines.slice(-count).join('\n')
  }

  #emit(bytes: Uint8Array<ArrayBuffer>) {
    this.dispatchEvent(new CustomEvent('typed', { detail: bytes }))
  }

  #isForGuest(event: KeyboardEvent) {
    const taken = this.#shortcut(event)
    if (taken) event.preventDefault()
    return !taken
  }

  /** The only keys that the guest does not get. */
  #shortcut(event: KeyboardEvent) {
    const { key, ctrlKey, shiftKey, altKey, metaKey, type } = event
    if (!ctrlKey || altKey || metaKey) return false
    if (key === 'F6') {
      if (type === 'keydown') this.dispatchEvent(new Event('leave'))
      return true
    }
    if (shiftKey && key.toUpperCase() === 'C') {
      if (type === 'keydown' && this.#terminal.hasSelection()) document.execCommand('copy')
      return true
    }
    // The browser turns this one into a paste event, which xterm takes.
    if (shiftKey && key.toUpperCase() === 'V') return false
    return false
  }

  #fitSoon() {
    cancelAnimationFrame(this.#fitting)
    this.#fitting = requestAnimationFrame(() => {
      this.#terminal.options.fontSize = narrow.matches ? 12 : 14
      this.#fit.fit()
    })
  }

  /** Draws with WebGL where a GPU does it; xterm falls back to its DOM renderer when the addon goes. */
  #accelerate() {
    if (!hasGpu()) return
    try {
      const webgl = new WebglAddon()
      webgl.onContextLoss(() => webgl.dispose())
      this.#terminal.loadAddon(webgl)
      this.#watchPixels(webgl)
    } catch {
      // It did not work out: the DOM renderer is already in place.
    }
  }

  /**
   * The addon sizes its canvas in device pixels as the browser counts them, and draws as `devicePixelRatio` says. A
   * browser that plays at being a phone gives two answers, and the text would land outside the canvas.
   */
  #watchPixels(webgl: WebglAddon) {
    const screen = this.querySelector('.xterm-screen')
    if (!screen) return
    const observer = new ResizeObserver(entries => {
      for (const { contentRect, devicePixelContentBoxSize } of entries) {
        const counted = devicePixelContentBoxSize?.[0]?.inlineSize
        if (counted === undefined || Math.abs(counted - contentRect.width * devicePixelRatio) <= 2) continue
        observer.disconnect()
        webgl.dispose()
      }
    })
    try {
      observer.observe(screen, { box: 'device-pixel-content-box' })
    } catch {
      // Not counted here, so the addon does not ask either.
    }
  }
}
customElements.define('ringlet-terminal', RingletTerminal)

/** WebGL computed on the processor would take from the guest what the DOM renderer leaves it; browsers do not all own up. */
function hasGpu() {
  const context = document.createElement('canvas').getContext('webgl2', { failIfMajorPerformanceCaveat: true })
  if (!context) return false
  const names = context.getExtension('WEBGL_debug_renderer_info')
  const renderer = String(context.getParameter(names?.UNMASKED_RENDERER_WEBGL ?? context.RENDERER))
  context.getExtension('WEBGL_lose_context')?.loseContext()
  return !/swiftshader|llvmpipe|softpipe|software|basic render/i.test(renderer)
}

declare global {
  interface HTMLElementTagNameMap {
    'ringlet-terminal': RingletTerminal
  }
}
