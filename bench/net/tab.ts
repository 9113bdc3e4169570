/** What is measured in a guest of a page: iperf3 and ping. */

import { usage } from '../../test/browser/chromium.ts'

/** Seconds of each run of iperf3. */
export const SECONDS = 5
/** Before the first measurement: a card up, with an address. */
export const UP = 'ip link set eth0 up && udhcpc -i eth0 -n -q -t 20'
const PINGS = 200

export interface Transfer {
  /** Mbit/s, as the receiver saw it. */
  readonly rate: number
  /** Of the processes the tab was given, in seconds for every GB. */
  readonly cpu: number
}

/** Median and 99th percentile, in milliseconds. */
export type Ping = readonly [median: number, most: number]

/** A page with one guest or more in it, at their prompts. */
export class Tab {
  constructor(
    /** What a command writes. */
    readonly run: (command: string, guest?: number) => Promise<string>,
    /** Whose processor time counts. */
    private readonly pids: readonly number[],
    readonly close: () => Promise<unknown>,
  ) {}

  async address(guest?: number): Promise<string> {
    return /[\d.]+/.exec(await this.run("ip -4 -o addr show eth0 | sed 's/.*inet //'", guest))![0]
  }

  async ping(to: string): Promise<Ping> {
    const times = (await this.run(`ping -c ${PINGS} -i 0.02 ${to} | sed -n 's/.*time=//p' | sort -n`))
      .split('\n')
      .map(Number.parseFloat)
      .sort((a, b) => a - b)
    if (times.length < PINGS * 0.95) throw new Error(`of ${PINGS} pings only ${times.length} came back`)
    return [times[times.length >> 1]!, times[Math.floor(times.length * 0.99)]!]
  }

  async iperf(to: string, flags = ''): Promise<Transfer> {
    const before = await this.seconds()
    const said = await this.run(`iperf3 -c ${to} -f m -t ${SECONDS} ${flags}`)
    const seconds = (await this.seconds()) - before
    const [, start, end, rate] = /([\d.]+)-([\d.]+) +sec .* ([\d.]+) Mbits\/sec +receiver/.exec(said) ?? []
    if (!rate) throw new Error(`iperf3 failed: ${said}`)
    const gigabytes = (Number(rate) * (Number(end) - Number(start))) / 8000
    return { rate: Number(rate), cpu: seconds / gigabytes }
  }

  private async seconds() {
    const used = await Promise.all(this.pids.map(usage))
    return used.reduce((sum, { seconds }) => sum + seconds, 0)
  }
}
