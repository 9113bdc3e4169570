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

/** Types a command at the prompt; gives the lines it wrote. */
export async function output(terminal: Terminal, type: (line: string) => void, command: string): Promise<string> {
  const tag = Math.random().toString(36).slice(2, 8)
  // The tag is typed in two halves, so that only the output has it whole.
  type(`echo B''${tag}; ${command}; echo E''${tag}`)
  await appears(terminal, new RegExp(`^E${tag}$`))
  const { active } = terminal.buffer
  const lines: string[] = []
  for (let row = 0; row < active.length; row++) {
    const line = active.getLine(row)!
    if (line.isWrapped) lines[lines.length - 1] += line.translateToString(true)
    else lines.push(line.translateToString(true))
  }
  return lines.slice(lines.lastIndexOf(`B${tag}`) + 1, lines.lastIndexOf(`E${tag}`)).join('\n')
}
