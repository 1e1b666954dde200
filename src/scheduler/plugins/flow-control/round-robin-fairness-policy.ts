// round-robin-fairness-policy: serve the flows of a band in turn, by the order of their ids.
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/fairness/roundrobin. It counts requests
// and not tokens: a flow of long prompts gets more work done. A flow whose turn comes while all its
// requests are away is served when it is back, out of turn and once; there nobody can be away. Flows that
// wait lie in an array sorted by id: O(log flows) a request, and a move of the array's rest when a flow
// begins or ceases to wait.

import { z } from "zod";
import type { BandFairness, FlowView } from "../../flow-control/contracts.ts";
import { defineFairnessPolicy } from "../../plugin.ts";

class RoundRobinBand implements BandFairness {
  readonly #flows: FlowView[] = [];
  /** Flows whose turn came while they were away, in the order they are back. */
  readonly #due = new Set<FlowView>();
  /** Of flows that have left, the round in which their turn comes next. */
  readonly #roundOf = new Map<FlowView, number>();
  #round = 0;
  /** Id of who was served last in turn; undefined before the first. */
  #last: string | undefined;

  joined(flow: FlowView, wasAway: boolean): void {
    this.#flows.splice(this.#firstAtOrAfter(flow.fairnessId), 0, flow);
    const round = this.#roundOf.get(flow);
    this.#roundOf.delete(flow);
    if (wasAway && round !== undefined && round < this.#nextRoundOf(flow)) this.#due.add(flow);
  }

  left(flow: FlowView): void {
    this.#flows.splice(this.#firstAtOrAfter(flow.fairnessId), 1);
    this.#roundOf.set(flow, this.#due.delete(flow) ? this.#round - 1 : this.#nextRoundOf(flow));
  }

  choose(): FlowView | undefined {
    for (const flow of this.#due) return flow;
    const flows = this.#flows;
    if (this.#last === undefined || flows.length === 0) return flows[0];
    const at = this.#firstAtOrAfter(this.#last);
    const next = flows[at]?.fairnessId === this.#last ? at + 1 : at;
    return flows[next % flows.length];
  }

  dispatched(flow: FlowView): void {
    if (this.#due.delete(flow)) return;
    this.#round = this.#nextRoundOf(flow);
    this.#last = flow.fairnessId;
  }

  forgotten(flow: FlowView): void {
    this.#roundOf.delete(flow);
  }

  #nextRoundOf({ fairnessId }: FlowView): number {
    const isPassed = this.#last !== undefined && fairnessId <= this.#last;
    return isPassed ? this.#round + 1 : this.#round;
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
