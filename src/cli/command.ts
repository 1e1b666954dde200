/** One command of `fairlead`. */
export interface Command {
  /** Printed by `fairlead help NAME` and below a wrong command line. */
  readonly usage: string;
  run(args: string[]): Promise<void>;
}
