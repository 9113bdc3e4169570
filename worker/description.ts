/** The machine description: one JSON document that says what a machine is made of. */

export interface MachineDescription {
  readonly name?: string
}
