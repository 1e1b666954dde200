// A sink that keeps what it is told, and takes offence at what is no change.

import {
  type Holding,
  type HoldingSink,
  NOT_HELD,
} from "../../../../src/scheduler/kv/residency/holding.ts";

export class RecordingSink implements HoldingSink {
  /** What is held, by `slot/low:high`. */
  readonly holdings = new Map<string, Holding>();

  held(slot: number, low: number, high: number, holding: Holding): void {
    const name = `${slot}/${low}:${high}`;
    if ((this.holdings.get(name) ?? NOT_HELD) === holding) throw new Error(`no change: ${name}`);
    if (holding === NOT_HELD) this.holdings.delete(name);
    else this.holdings.set(name, holding);
  }
}
