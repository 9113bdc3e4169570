import { css } from 'lit'

/** What every part of the page shares inside its shadow tree: box model, focus rings, buttons, hidden labels. */
export const controls = css`
  * {
    box-sizing: border-box;
  }
  [hidden] {
    display: none !important;
  }
  :focus-visible {
    outline: 2px solid var(--focus);
    outline-offset: 2px;
  }
  h1,
  h2,
  h3,
  p {
    margin: 0;
  }
  button {
    font: inherit;
    color: inherit;
  }
  .button {
    display: inline-flex;
    align-items: center;
    justify-content: center;
    gap: 0.5em;
    min-height: 36px;
    padding: 0 14px;
    border: 1px solid var(--line);
    border-radius: var(--radius-small);
    background: var(--surface);
    color: var(--ink);
    font: 500 14px/1 var(--sans);
    white-space: nowrap;
    text-decoration: none;
    cursor: pointer;
    transition:
      background var(--quick),
      border-color var(--quick),
      color var(--quick);
  }
  .button:hover:not(:disabled) {
    border-color: var(--line-strong);
  }
  .button:active:not(:disabled) {
    background: var(--sunken);
  }
  .button:disabled {
    opacity: 0.45;
    cursor: default;
  }
  .button.primary {
    background: var(--accent);
    border-color: transparent;
    color: var(--on-accent);
  }
  .button.primary:hover:not(:disabled) {
    background: var(--accent-hover);
  }
  .button.quiet {
    background: transparent;
    border-color: transparent;
    color: var(--ink-2);
  }
  .button.quiet:hover:not(:disabled) {
    background: var(--sunken);
    color: var(--ink);
  }
  .button.icon {
    width: 36px;
    padding: 0;
  }
  .button svg {
    flex: none;
    width: 16px;
    height: 16px;
  }
  .unseen {
    position: absolute;
    width: 1px;
    height: 1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
  kbd {
    padding: 0.1em 0.45em;
    border: 1px solid var(--line);
    border-bottom-width: 2px;
    border-radius: 5px;
    background: var(--surface);
    color: var(--ink);
    font: 0.85em var(--mono);
    white-space: nowrap;
  }
  @media (pointer: coarse) {
    .button {
      min-height: 44px;
    }
    .button.icon {
      width: 44px;
    }
  }
`
