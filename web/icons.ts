import { svg, type TemplateResult } from 'lit'

const icon = (drawing: TemplateResult) => svg`
  <svg viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round"
    stroke-linejoin="round" aria-hidden="true">${drawing}</svg>`

export const icons = {
  play: icon(svg`<path d="M4.5 2.8v10.4L13 8z" fill="currentColor" />`),
  pause: icon(svg`<path d="M5 3v10M11 3v10" stroke-width="2.4" />`),
  reset: icon(svg`<path d="M2.6 8a5.4 5.4 0 1 0 1.7-3.9L2.6 5.7M2.6 2.4v3.3h3.3" />`),
  power: icon(svg`<path d="M8 1.8v6M4.4 3.9a5.6 5.6 0 1 0 7.2 0" />`),
  back: icon(svg`<path d="M9.8 3.2 5 8l4.8 4.8" />`),
  copy: icon(
    svg`<rect x="5.5" y="5.5" width="8" height="8" rx="1.5" /><path d="M10.5 3.2A1 1 0 0 0 9.5 2.5h-6a1 1 0 0 0-1 1v6a1 1 0 0 0 .7 1" />`,
  ),
  file: icon(svg`<path d="M9.2 1.8H4.4a1 1 0 0 0-1 1v10.4a1 1 0 0 0 1 1h7.2a1 1 0 0 0 1-1V5.2zM9 2v3.4h3.4" />`),
  cross: icon(svg`<path d="m4 4 8 8M12 4l-8 8" />`),
  side: icon(svg`<rect x="1.8" y="2.8" width="12.4" height="10.4" rx="1.6" /><path d="M10 3v10" />`),
  sun: icon(
    svg`<circle cx="8" cy="8" r="3" /><path d="M8 1.2v1.2M8 13.6v1.2M1.2 8h1.2M13.6 8h1.2M3.2 3.2l.8.8M12 12l.8.8M12.8 3.2l-.8.8M4 12l-.8.8" />`,
  ),
  moon: icon(svg`<path d="M13.6 9.6A6 6 0 1 1 6.4 2.4a4.8 4.8 0 0 0 7.2 7.2z" />`),
  auto: icon(svg`<circle cx="8" cy="8" r="5.8" /><path d="M8 2.2v11.6A5.8 5.8 0 0 0 8 2.2z" fill="currentColor" />`),
}
