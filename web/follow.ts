import type { ReactiveController, ReactiveControllerHost } from 'lit'

/** Draws its host again whenever `target` dispatches an event of this type, for as long as the host is on the page. */
export class Follow implements ReactiveController {
  constructor(
    private readonly host: ReactiveControllerHost,
    private readonly target: () => EventTarget,
    private readonly type = 'change',
  ) {
    host.addController(this)
  }

  hostConnected() {
    this.target().addEventListener(this.type, this)
  }

  hostDisconnected() {
    this.target().removeEventListener(this.type, this)
  }

  handleEvent() {
    this.host.requestUpdate()
  }
}
