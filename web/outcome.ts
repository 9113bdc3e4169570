import type { MachineState } from '../worker/api.ts'
import type { Session } from './session.ts'

export interface Outcome {
  readonly title: string
  readonly text: string
  /** The machine's or the loader's own words. */
  readonly detail?: string | undefined
  readonly tone: 'calm' | 'bad'
}

type Ended = Extract<MachineState, 'halted' | 'powered-off' | 'panicked' | 'triple-fault'>

const endings: Record<Ended, Outcome> = {
  'powered-off': {
    title: 'The machine is off',
    text: 'Its power was switched off in good order. What was only in its memory is gone.',
    tone: 'calm',
  },
  halted: {
    title: 'The machine has halted',
    text: 'Linux has stopped the processor and switched interrupts off, so nothing can wake it. A reset starts it again.',
    tone: 'calm',
  },
  panicked: {
    title: 'Kernel panic',
    text: 'Linux met something it could not go on from and stopped itself. The last lines in the terminal say what it was; a missing root file system or init is the usual cause.',
    tone: 'bad',
  },
  'triple-fault': {
    title: 'Triple fault',
    text: 'The processor failed while it was handling a failure, and a PC answers that with a reset. Usually the kernel is not one for 32-bit x86, is damaged, or has overwritten itself: try another kernel or more memory.',
    tone: 'bad',
  },
}

/** What there is to tell about a session that ended, or that something went wrong with; undefined while all is well. */
export function outcomeOf({ state, detail, problem }: Session): Outcome | undefined {
  if (state === 'failed') {
    return {
      title: problem?.title ?? 'The machine could not start',
      text: problem?.detail ?? detail ?? 'The worker gave no reason.',
      tone: 'bad',
    }
  }
  if (state in endings) return { ...endings[state as Ended], detail }
  return problem && { title: problem.title, text: problem.detail, tone: 'bad' }
}
