import { Terminal } from '@xterm/xterm'

export const COLUMNS = 80
export const ROWS = 25

/** The terminal everybody writes to, and what it shows last. */
export function openTerminal() {
  const terminal = new Terminal({ cols: COLUMNS, rows: ROWS, scrollback: 1000 })
  terminal.open(document.getElementById('terminal')!)
  return terminal
}

/** Whether a line of the screen matches. */
export function shows(terminal: Terminal, pattern: RegExp) {
  const { active } = terminal.buffer
  for (let line = Math.max(0, active.length - ROWS); line < active.length; line++) {
    if (pattern.test(active.getLine(line)?.translateToString(true) ?? '')) return true
  }
  return false
}

/** Settles when it is on the screen. */
export function appears(terminal: Terminal, pattern: RegExp): Promise<void> {
  return new Promise(resolve => {
    if (shows(terminal, pattern)) return resolve()
    const listener = terminal.onWriteParsed(() => {
      if (!shows(terminal, pattern)) return
      listener.dispose()
      resolve()
    })
  })
}

export const PROMPT = /^ringlet:.*# ?$/
