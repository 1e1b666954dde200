// round-robin-fairness-policy: serve the flows of a band in turn, by the order of their ids.
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/fairness/roundrobin. It counts requests
// and not tokens: a flow of long prompts gets more work done. Flows that wait lie in an array sorted by
// id: O(log flows) a request, and a move of the array's rest when a flow begins or ceases to wait.

import { z } from "zod";
import type { BandFairness, FlowView } from "../../flow-control/contracts.ts";
import { defineFairnessPolicy } from "../../plugin.ts";

class RoundRobinBand implements BandFairness {
  readonly #flows: FlowView[] = [];
  /** Id of who was served last; undefined before the first. */
  #last: string | undefined;

  joined(flow: FlowView): void {
    this.#flows.splice(this.#firstAtOrAfter(flow.fairnessId), 0, flow);
  }

  left(flow: FlowView): void {
    this.#flows.splice(this.#firstAtOrAfter(flow.fairnessId), 1);
  }

  choose(): FlowView | undefined {
    const flows = this.#flows;
    if (this.#last === undefined || flows.length === 0) return flows[0];
    const at = this.#firstAtOrAfter(this.#last);
    const next = flows[at]?.fairnessId === this.#last ? at + 1 : at;
    return flows[next % flows.length];
  }

  dispatched(flow: FlowView): void {
    this.#last = flow.fairnessId;
  }

  #firstAtOrAfter(fairnessId: string): number {
    let low = 0;
    let high = this.#flows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#flows[middle]!.fairnessId < fairnessId) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export const roundRobinFairnessPolicy = defineFairnessPolicy({
  type: "round-robin-fairness-policy",
  role: "fairness policy",
  params: z.strictObject({}),
  create: () => ({ forBand: () => new RoundRobinBand() }),
});
