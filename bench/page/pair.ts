import * as Comlink from 'comlink'
import type { Pair } from './pair-worker.ts'

/** Two of our machines in one worker of this page, on one LAN. */
export class OurPair {
  private readonly worker = new Worker(new URL('./pair-worker.ts', import.meta.url), { type: 'module' })
  private readonly api = Comlink.wrap<Pair>(this.worker)

  async boot(initrd: string) {
    await this.api.start(initrd, location.href)
  }

  /** What a command writes in one of them. */
  run(command: string, guest = 0): Promise<string> {
    return this.api.run(command, guest)
  }
}
