// What each flow of a band has been served, in tokens by its weight, and who was served least.
//
//   cost     = uncached input + outputWeight × output
//   counter += cost / weight          when a request is let through, by what is expected
//   counter += (real − expected) / weight                when it has ended
//   counter  = max(counter, least of those that wait)    when its flow begins to wait again;
//              that of the flow that left last, if none waits
//
// A flow that was away has saved nothing up, and what it was given while nobody else wanted it is held
// against it no longer than until the others have had as much.
//
// Source: Sheng et al., Fairness in Serving Large Language Models (VTC), OSDI 2024, algorithm 4.
// There the output is counted token by token; here it is reserved, and corrected at the end.

import { IndexedHeap } from "../support/indexed-heap.ts";
import type { FlowView, QueuedRequest, TokenUsage } from "./contracts.ts";

/** What a flow has been served. */
export interface Counter {
  readonly flow: FlowView;
  tokens: number;
  /** Of equal counters, who has waited longer is first. */
  turn: number;
  index: number;
}

type Tokens = Pick<TokenUsage, "uncachedTokens" | "outputTokens">;

/** Of one band. All but `joined` are about flows that it has been told of. */
export class TokenCounters {
  readonly #outputWeight: number;
  readonly #byFlow = new Map<FlowView, Counter>();
  readonly #waiting = new IndexedHeap<Counter>(
    (a, b) => a.tokens < b.tokens || (a.tokens === b.tokens && a.turn < b.turn),
    (counter, index) => void (counter.index = index),
  );
  #lastLeft = 0;
  #turn = 0;
  /** Of flows that have not joined since a restart, by fairness id. */
  #owed = new Map<string, number>();

  constructor(outputWeight: number) {
    this.#outputWeight = outputWeight;
  }

  /** Of the flows that wait, who was served least. */
  get least(): Counter | undefined {
    return this.#waiting.first;
  }

  /** Of the flows that wait, at a place of the heap: its children are not served less than it. */
  at(index: number): Counter | undefined {
    return this.#waiting.at(index);
  }

  /** A flow's that has joined and was not forgotten. */
  of(flow: FlowView): Counter | undefined {
    return this.#byFlow.get(flow);
  }

  /** In no order. */
  waiting(): readonly Counter[] {
    return this.#waiting.items();
  }

  joined(flow: FlowView): void {
    const floor = this.least?.tokens ?? this.#lastLeft;
    let counter = this.#byFlow.get(flow);
    if (counter === undefined) {
      const tokens = floor + (this.#owed.get(flow.fairnessId) ?? 0);
      counter = { flow, tokens, turn: 0, index: -1 };
      this.#byFlow.set(flow, counter);
      this.#owed.delete(flow.fairnessId);
    }
    counter.tokens = Math.max(counter.tokens, floor);
    counter.turn = ++this.#turn;
    this.#waiting.add(counter);
  }

  left(flow: FlowView): void {
    const counter = this.#byFlow.get(flow)!;
    this.#waiting.removeAt(counter.index);
    this.#lastLeft = counter.tokens;
  }

  /** A request costs at least a token, or one that costs nothing would be let through for ever. */
  reserve(flow: FlowView, request: QueuedRequest): void {
    const cost = Math.max(1, this.cost(request));
    this.#charge(this.#byFlow.get(flow)!, cost / request.weight);
  }

  settle(flow: FlowView, request: QueuedRequest, usage: TokenUsage): void {
    const correction = this.cost(usage) - this.cost(request);
    this.#charge(this.#byFlow.get(flow)!, correction / request.weight);
  }

  forget(flow: FlowView): void {
    this.#byFlow.delete(flow);
  }

  /** Tokens by which flows are ahead of the one served least, by fairness id. */
  debts(): ReadonlyMap<string, number> {
    const floor = this.least?.tokens ?? this.#lastLeft;
    const debts = new Map<string, number>();
    for (const [{ fairnessId }, { tokens }] of this.#byFlow)
      if (tokens > floor) debts.set(fairnessId, tokens - floor);
    return debts;
  }

  /** In the place of those restored before. */
  restore(debts: ReadonlyMap<string, number>): void {
    this.#owed = new Map(debts);
  }

  cost({ uncachedTokens, outputTokens }: Tokens): number {
    return uncachedTokens + this.#outputWeight * outputTokens;
  }

  #charge(counter: Counter, tokens: number): void {
    counter.tokens += tokens;
    if (counter.index >= 0) this.#waiting.update(counter.index);
  }
}
