// Where hits end, told beside what is held, for whoever takes keys only: see hit-end-keys.ts.

import { ENDS_MARKED, hitEndHigh, hitEndLow } from "../hit-end-keys.ts";
import { type EndingSink, HELD_ON_GPU, type HoldingSink, NOT_HELD } from "./holding.ts";

export function endingsAsKeys(sink: HoldingSink): EndingSink {
  return {
    endsMarked(slot, isMarked) {
      const holding = isMarked ? HELD_ON_GPU : NOT_HELD;
      sink.held(slot, ENDS_MARKED.low, ENDS_MARKED.high, holding);
    },
    endsHit(slot, low, high, isEnd) {
      sink.held(slot, hitEndLow(low), hitEndHigh(high), isEnd ? HELD_ON_GPU : NOT_HELD);
    },
  };
}
