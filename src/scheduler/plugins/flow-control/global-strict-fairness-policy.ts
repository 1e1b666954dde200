// global-strict-fairness-policy: serve the best head of all flows, by the ordering policy.
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/fairness/globalstrict. llm-d's default.
// It isolates nobody: a flow that sends more is served more. There flows of one band may be ordered
// differently, which is an error; here a band has one order. O(log flows) a request.

import { z } from "zod";
import type { BandFairness, FlowView } from "../../flow-control/contracts.ts";
import { isServedBefore, type RankedRequest } from "../../flow-control/queue-entry.ts";
import { defineFairnessPolicy } from "../../plugin.ts";
import { IndexedHeap } from "../../support/indexed-heap.ts";

interface Place {
  readonly flow: FlowView;
  head: RankedRequest;
  index: number;
}

class StrictBand implements BandFairness {
  readonly #places = new Map<FlowView, Place>();
  readonly #heads = new IndexedHeap<Place>(
    (a, b) => isServedBefore(a.head, b.head),
    (place, index) => void (place.index = index),
  );

  joined(flow: FlowView): void {
    const place: Place = { flow, head: headOf(flow), index: -1 };
    this.#places.set(flow, place);
    this.#heads.add(place);
  }

  left(flow: FlowView): void {
    this.#heads.removeAt(this.#places.get(flow)!.index);
    this.#places.delete(flow);
  }

  headChanged(flow: FlowView): void {
    const place = this.#places.get(flow)!;
    place.head = headOf(flow);
    this.#heads.update(place.index);
  }

  choose(): FlowView | undefined {
    return this.#heads.first?.flow;
  }
}

/** Whatever waits in a queue has been ranked. */
function headOf(flow: FlowView): RankedRequest {
  return flow.head as RankedRequest;
}

export const globalStrictFairnessPolicy = defineFairnessPolicy({
  type: "global-strict-fairness-policy",
  role: "fairness policy",
  params: z.strictObject({}),
  create: () => ({ forBand: () => new StrictBand() }),
});
