// What each flow of a band has been served, in tokens by its weight, and who was served least.
//
//   cost     = uncached input + outputWeight × output
//   counter += cost / weight          when a request is let through, by what is expected
//   counter += (real − expected) / weight                when it has ended
//   counter  = max(counter, floor)                       when its flow begins to wait again
//   counter  = floor + what it owes of a life before     when it first does
//   floor    = least counter of those that can be chosen, without debts of a life before;
//              that of the flow that left last, if there is none
//
// A flow that had nothing waiting has saved nothing up, and what it was given while nobody else wanted it
// is held against it no longer than until the others have had as much. One whose requests were all away
// has waited: it keeps its counter and its turn, and is owed what others were given meanwhile.
//
// In a pool of several objects each counts what the others have served as if it had done so itself: a flow
// that is busy at one of them is not served first by the next.
//
// Source: Sheng et al., Fairness in Serving Large Language Models (VTC), OSDI 2024, algorithm 4.
// There the output is counted token by token; here it is reserved, and corrected at the end.

import { IndexedHeap } from "../support/indexed-heap.ts";
import type { AttainedService, FlowView, QueuedRequest, TokenUsage } from "./contracts.ts";

/** Flows of a band of whose service others are told: those served last. */
export const ATTAINED_MAX = 1_000;

/** What a flow has been served. */
export interface Counter {
  readonly flow: FlowView;
  tokens: number;
  /** Of equal counters, who has waited longer is first. */
  turn: number;
  /** It holds a debt of a life before and was not served since: it is no measure for others. */
  isOwing: boolean;
  index: number;
  /** Served here, since the flow is known and others are told of it. */
  attained: number;
  /** Another one: `attained` began at 0 again. */
  life: number;
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
  /** Those served here last come last; at most ATTAINED_MAX. */
  readonly #served = new Set<Counter>();
  #lives = 0;
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

  /** See BandFairness.joined. */
  joined(flow: FlowView, wasAway: boolean): void {
    const counter = this.#byFlow.get(flow) ?? this.#begin(flow);
    if (!wasAway) {
      counter.tokens = Math.max(counter.tokens, this.#floor);
      counter.turn = ++this.#turn;
    }
    this.#waiting.add(counter);
  }

  left(flow: FlowView): void {
    const counter = this.#byFlow.get(flow)!;
    this.#waiting.removeAt(counter.index);
    if (!counter.isOwing) this.#lastLeft = counter.tokens;
  }

  /** A request costs at least a token, or one that costs nothing would be let through for ever. */
  reserve(flow: FlowView, request: QueuedRequest): void {
    const cost = Math.max(1, this.cost(request));
    const counter = this.#byFlow.get(flow)!;
    counter.isOwing = false;
    this.#serve(counter, cost / request.weight);
  }

  settle(flow: FlowView, request: QueuedRequest, usage: TokenUsage): void {
    const correction = this.cost(usage) - this.cost(request);
    this.#serve(this.#byFlow.get(flow)!, correction / request.weight);
  }

  forget(flow: FlowView): void {
    const counter = this.#byFlow.get(flow);
    if (counter !== undefined) this.#served.delete(counter);
    this.#byFlow.delete(flow);
  }

  /** See BandFairness.attained. */
  attained(): AttainedService[] {
    return Array.from(this.#served, ({ flow, life, attained }) => ({
      fairnessId: flow.fairnessId,
      life,
      tokens: attained,
    }));
  }

  /** See BandFairness.servedElsewhere. O(flows). */
  servedElsewhere(tokens: ReadonlyMap<string, number>): void {
    for (const counter of this.#byFlow.values())
      this.#charge(counter, tokens.get(counter.flow.fairnessId) ?? 0);
  }

  /** See BandFairness.debts. O(flows). */
  debts(): ReadonlyMap<string, number> {
    const floor = this.#floor;
    let least = floor;
    for (const { flow, tokens } of this.#byFlow.values())
      if (isWaiting(flow)) least = Math.min(least, tokens);
    const debts = new Map<string, number>();
    for (const [fairnessId, tokens] of this.#owed) debts.set(fairnessId, floor - least + tokens);
    for (const { flow, tokens } of this.#byFlow.values())
      if (tokens > (isWaiting(flow) ? least : floor)) debts.set(flow.fairnessId, tokens - least);
    return debts;
  }

  /** In the place of those restored before. */
  restore(debts: ReadonlyMap<string, number>): void {
    this.#owed = new Map(debts);
  }

  cost({ uncachedTokens, outputTokens }: Tokens): number {
    return uncachedTokens + this.#outputWeight * outputTokens;
  }

  /** Where who begins to wait begins. */
  get #floor(): number {
    const { least } = this;
    if (least === undefined) return this.#lastLeft;
    return least.isOwing ? Math.min(this.#lastLeft, least.tokens) : least.tokens;
  }

  #begin(flow: FlowView): Counter {
    const owed = this.#owed.get(flow.fairnessId);
    const tokens = this.#floor + (owed ?? 0);
    const isOwing = owed !== undefined;
    const life = ++this.#lives;
    const counter = { flow, tokens, turn: 0, isOwing, index: -1, attained: 0, life };
    this.#owed.delete(flow.fairnessId);
    this.#byFlow.set(flow, counter);
    return counter;
  }

  #serve(counter: Counter, tokens: number): void {
    counter.attained += tokens;
    this.#served.delete(counter);
    this.#served.add(counter);
    if (this.#served.size > ATTAINED_MAX) this.#forgetOldest();
    this.#charge(counter, tokens);
  }

  /** Others are not told of it any more. Should they be again, then of nothing that they may have heard. */
  #forgetOldest(): void {
    const [oldest] = this.#served;
    this.#served.delete(oldest!);
    oldest!.attained = 0;
    oldest!.life = ++this.#lives;
  }

  #charge(counter: Counter, tokens: number): void {
    counter.tokens += tokens;
    if (counter.index >= 0) this.#waiting.update(counter.index);
  }
}

function isWaiting({ waitingCount, awayCount }: FlowView): boolean {
  return waitingCount + awayCount > 0;
}
