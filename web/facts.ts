import { css } from 'lit'

/** How a panel in the side shows what it knows: headings, and names with values, with a bar under some. */
export const facts = css`
  :host {
    display: grid;
    gap: 26px;
    font-size: 14px;
  }
  h3 {
    margin-bottom: 10px;
    color: var(--ink-2);
    font: 600 12px/1 var(--sans);
    letter-spacing: 0.04em;
    overflow-wrap: anywhere;
  }
  dl {
    display: grid;
    grid-template-columns: auto minmax(0, 1fr);
    gap: 8px 16px;
    margin: 0;
  }
  dt {
    color: var(--ink-2);
  }
  dd {
    margin: 0;
    text-align: right;
    overflow-wrap: anywhere;
    font-variant-numeric: tabular-nums;
  }
  p {
    color: var(--ink-2);
  }
  .buttons {
    display: flex;
    flex-wrap: wrap;
    gap: 8px;
  }
`
