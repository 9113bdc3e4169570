/** What the page may see of the worker. Control goes through comlink; bytes go through MessagePorts, in batches. */

import type { MachineDescription } from './description.ts'
import type { NicStatus } from './net.ts'

export type { MachineDescription, NicStatus }

/** Where a kernel, an initrd or a disk comes from: a URL (absolute), or a file the user picked or dropped. */
export type Source = string | Blob

export interface BootRequest {
  /** The description, its URLs already absolute. */
  readonly machine: MachineDescription
  /** Where the description comes from: its disks are kept apart from those of others. The page's own if absent. */
  readonly origin?: string
  /** What a link runs in place of what the description says, in words: kept disks are opened for that only with a yes. */
  readonly changes?: string | undefined
  /** Files that stand in for what the description names by `file:NAME`. */
  readonly files?: Readonly<Record<string, Blob>>
  /** Size of the terminal, in characters. */
  readonly columns: number
  readonly rows: number
}

/** What the machine is doing. After `panicked`, `halted`, `triple-fault` and `powered-off` it runs no more; `reset` starts it again. */
export type MachineState =
  | 'empty'
  | 'loading'
  | 'booting'
  | 'running'
  | 'paused'
  | 'halted'
  | 'powered-off'
  | 'panicked'
  | 'triple-fault'
  | 'failed'

/** Messages on the events port, from worker to page. */
export type MachineEvent =
  | { readonly type: 'state'; readonly state: MachineState; readonly detail?: string }
  /** A download or an unpacking. `total` is absent where the server does not say. All in bytes. */
  | {
      readonly type: 'progress'
      readonly what: string
      readonly done: number
      readonly total?: number
      readonly phase: 'download' | 'unpack' | 'done'
    }
  /** Something the user should read: what happened and what can be done. */
  | { readonly type: 'problem'; readonly title: string; readonly detail: string }
  /** Something only the user can decide; `answer` takes the index of the choice. The first choice changes nothing. */
  | {
      readonly type: 'question'
      readonly id: number
      readonly title: string
      readonly detail: string
      readonly choices: readonly string[]
    }
  /** What the boot took, in milliseconds from `boot()`, by phase name. */
  | { readonly type: 'timing'; readonly phases: Readonly<Record<string, number>> }

/** Messages on a console port. Output is acknowledged, so that the worker never runs far ahead of the terminal. */
export type ConsoleOutput = { readonly bytes: Uint8Array<ArrayBuffer> }
export type ConsoleInput =
  | { readonly input: Uint8Array<ArrayBuffer> }
  | { readonly acknowledged: number }
  | { readonly columns: number; readonly rows: number }

export interface ConsoleInfo {
  /** Index of the console device, then of its port. */
  readonly device: number
  readonly port: number
  readonly name: string
}

/** The object the worker exposes. Every method may reject with an Error whose message is fit to be shown. */
export interface MachineApi {
  /** Sends `MachineEvent`s to this port from now on. */
  listen(events: MessagePort): void
  /** The user's choice in a `question`, by index. */
  answer(id: number, choice: number): void
  /** Connects a terminal to the first console (or a named port); replaces an earlier one. */
  openConsole(port: MessagePort, name?: string): void
  /** Loads and starts; settles when the guest runs. */
  boot(request: BootRequest): Promise<void>
  pause(): void
  resume(): void
  /** Starts the same machine again from the beginning, with what was already downloaded. */
  reset(): Promise<void>
  /** Makes a kept disk of this machine larger, in bytes; the guest is told at once. */
  growDisk(name: string, size: number): Promise<void>
  /** How each network card fares, in the order of the description. */
  networks(): readonly NicStatus[]
  /** Puts a card's plug in or pulls it: the guest sees its link go up or down. By its place in `networks`. */
  plugNetwork(card: number, plugged: boolean): void
  /** Sends a card's frames to this port from now on, as pieces of a pcapng file (`Uint8Array`); without a port, stops. */
  captureNetwork(card: number, port?: MessagePort): void
  /** Stops the machine and lets go of everything it held. */
  powerOff(): Promise<void>
}
