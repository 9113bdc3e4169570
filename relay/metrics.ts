/** What the relay counts, and how Prometheus is told. Plain numbers, since counting is done for every frame. */

import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'

export class Counts {
  framesIn = 0
  bytesIn = 0
  framesOut = 0
  bytesOut = 0
  /** Frames, by why they were refused: what the guard says, `rate`, `broadcasts`, `text`. */
  readonly refused = new Map<string, number>()
  /** Frames that were fine but could not be delivered: `queue`, `nats`, `egress`. */
  readonly dropped = new Map<string, number>()
  /** Connections, by why they were turned away. */
  readonly rejected = new Map<string, number>()
  /** Times something outside had to be started or connected again: `nats`, `passt`. */
  readonly restarts = new Map<string, number>()
}

export const countOne = (counts: Map<string, number>, key: string, amount = 1) =>
  counts.set(key, (counts.get(key) ?? 0) + amount)

/** `gauges` are asked whenever somebody looks. */
export function metricsRegistry(
  counts: Counts,
  gauges: Readonly<Record<string, readonly [help: string, () => number]>>,
) {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const name = (rest: string) => `ringlet_relay_${rest}`
  const plain = (rest: string, help: string, value: () => number) =>
    new Counter({
      name: name(rest),
      help,
      registers: [registry],
      collect() {
        this.reset()
        this.inc(value())
      },
    })
  const labelled = (rest: string, help: string, values: Map<string, number>) =>
    new Counter({
      name: name(rest),
      help,
      labelNames: ['reason'],
      registers: [registry],
      collect() {
        this.reset()
        for (const [reason, value] of values) this.inc({ reason }, value)
      },
    })
  plain('frames_received_total', 'Frames from clients', () => counts.framesIn)
  plain('bytes_received_total', 'Bytes of frames from clients', () => counts.bytesIn)
  plain('frames_sent_total', 'Frames to clients', () => counts.framesOut)
  plain('bytes_sent_total', 'Bytes of frames to clients', () => counts.bytesOut)
  labelled('frames_refused_total', 'Frames a client may not send', counts.refused)
  labelled('frames_dropped_total', 'Frames that could not be delivered', counts.dropped)
  labelled('connections_rejected_total', 'Connections turned away', counts.rejected)
  labelled('restarts_total', 'Things outside started or connected again', counts.restarts)
  for (const [key, [help, value]] of Object.entries(gauges))
    new Gauge({
      name: name(key),
      help,
      registers: [registry],
      collect() {
        this.set(value())
      },
    })
  return registry
}
