/** One command of `fairlead`. */
export interface Command {
  /** Printed by `fairlead help NAME` and below a wrong command line. */
  readonly usage: string;
  /** Returns the exit code where success is not the only good end. */
  run(args: string[]): Promise<number | void>;
}
