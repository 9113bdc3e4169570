/** Asks what only the user can decide. Resolves to the index of the choice; closing it is the first, which changes nothing. */
export function ask(title: string, detail: string, choices: readonly string[]): Promise<number> {
  const dialog = document.createElement('dialog')
  dialog.className = 'question'
  const heading = document.createElement('h2')
  heading.textContent = title
  const text = document.createElement('p')
  text.textContent = detail
  const buttons = document.createElement('div')
  for (const [index, choice] of choices.entries()) {
    const button = document.createElement('button')
    button.textContent = choice
    button.autofocus = index === 0
    button.onclick = () => dialog.close(String(index))
    buttons.append(button)
  }
  dialog.append(heading, text, buttons)
  document.body.append(dialog)
  dialog.showModal()
  return new Promise(resolve => {
    dialog.onclose = () => {
      dialog.remove()
      resolve(Number(dialog.returnValue || 0))
    }
  })
}
