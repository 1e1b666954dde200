// Prefill and decode at once: both engines meet under a name that is new for each pair.
//
//   prefill fails before a decoder has answered    the decoder would wait for ever: its leg is withdrawn, and
//                                                  it is paired with another prefiller, or computes
//   decode fails                                   the prefiller would wait for ever: it is told to stop, and
//                                                  paired with the next decoder
//   decode answers                                 the prefiller is let end, however long the pair waits in the
//                                                  decoder's queue; it has at the latest when the answer ends

import { DISAGGREGATION_METRIC } from "../../../telemetry/disaggregation-names.ts";
import type { Stop, Walk, WalkLeg } from "../walk.ts";
import { askDecoders, type Decoders } from "./ask-decoders.ts";
import { walkInChunks } from "./chunked-walk.ts";
import { Overdue } from "./overdue.ts";
import type { Phase, Split, StageFacts } from "./split-request.ts";
import type { Paired, SplitState } from "./split-state.ts";

interface Pair {
  readonly paired: Paired;
  /** Ends the prefiller's leg. */
  readonly prefill: AbortController;
  /** Withdraws the decoder's leg. */
  readonly decode: AbortController;
  readonly overdue: Overdue;
  /** Resolves when the prefill has ended and has been reported. */
  ended: Promise<void>;
  /** Nothing that becomes of the prefill withdraws the decoder's leg: it has answered, or failed. */
  isDecided: boolean;
}

/** Never rejects. */
export async function splitAtOnce(state: SplitState): Promise<Split> {
  const split = new Pairs(state);
  const walked = await split.walk();
  return {
    walked,
    // The decoder's own: both count what was transferred alike, and the prefiller may still be busy.
    cachedTokens: undefined,
    onFirstByte: () => split.firstByte(),
    end: () => split.end(walked),
  };
}

class Pairs implements Decoders {
  readonly #state: SplitState;
  /** Of the endpoint that is tried; undefined where it computes the prompt itself. */
  #pair: Pair | undefined;
  /** A hand-over failed, and decoders can do without. */
  #isAlone = false;
  #phase: Phase | undefined;
  #startedAtMs = 0;

  constructor(state: SplitState) {
    this.#state = state;
  }

  get isHandedOver(): boolean {
    return this.#pair !== undefined;
  }

  async walk(): Promise<Walk> {
    const { context, request } = this.#state;
    this.#phase = request.startPhase("decode");
    this.#startedAtMs = context.clock();
    const walked = await askDecoders(this.#state, this);
    const { result } = walked;
    if (result.kind !== "answered" || result.answer.statusCode >= 300) this.#endPair();
    return walked;
  }

  ask(destinations: readonly string[]): Promise<Walk> {
    const { context, request } = this.#state;
    return walkInChunks(context, {
      ...request,
      destinations,
      leg: (endpoint) => this.#leg(endpoint),
      onAttempt: (outcome, endpoint) => {
        if (outcome === "answered") this.#decide();
        else if (outcome !== "withdrawn") this.#endPair();
        request.onAttempt(outcome, endpoint);
      },
    });
  }

  async lost(): Promise<void> {
    const pair = this.#pair;
    this.#endPair();
    if (pair === undefined) return;
    await pair.ended;
    this.#state.lost(pair.paired);
    this.#isAlone = pair.paired.connector.needsPrefill !== true;
  }

  firstByte(): void {
    const { context } = this.#state;
    this.#state.firstByte();
    if (this.#pair === undefined) return;
    const { name: connector } = this.#pair.paired.connector;
    const { relayHandOffSeconds } = DISAGGREGATION_METRIC;
    const ms = context.clock() - this.#startedAtMs;
    context.registry.observe(relayHandOffSeconds, { connector }, ms / 1_000);
  }

  async end({ endpoint }: Walk): Promise<StageFacts> {
    const pair = this.#pair;
    this.#endPair();
    await pair?.ended;
    this.#phase?.end({
      "llm_d.pd_proxy.decode_target": endpoint,
      "llm_d.pd_proxy.decode_duration_ms": this.#state.context.clock() - this.#startedAtMs,
      "llm_d.pd_proxy.disaggregation_used": pair !== undefined,
    });
    return this.#state.end();
  }

  async #leg(endpoint: string): Promise<WalkLeg | Stop> {
    const { request } = this.#state;
    const headers = request.headers(endpoint, this.#phase);
    // The prefill of the pair before is reported before another one begins.
    await this.#pair?.ended;
    const paired = this.#isAlone ? undefined : await this.#state.next(endpoint);
    this.#pair = undefined;
    if (paired === undefined) return this.#state.alone(endpoint, headers);
    const decode = new AbortController();
    this.#start(paired, decode);
    const leg = paired.handOff.decode(undefined);
    return {
      body: leg.body,
      headers: { ...headers, ...leg.headers },
      signal: AbortSignal.any([request.signal, decode.signal]),
    };
  }

  #start(paired: Paired, decode: AbortController): void {
    const { context, request } = this.#state;
    const prefill = new AbortController();
    const overdue = new Overdue(context.prefillPolicy.pairTimeoutMs);
    const ended = Promise.resolve();
    const pair: Pair = { paired, prefill, decode, overdue, ended, isDecided: false };
    const signal = AbortSignal.any([request.signal, prefill.signal]);
    pair.ended = this.#state.prefill(paired, { signal, overdue }).then(({ outcome }) => {
      if (outcome !== "ok" && !pair.isDecided) decode.abort();
    });
    this.#pair = pair;
  }

  #decide(): void {
    if (this.#pair === undefined) return;
    this.#pair.isDecided = true;
    this.#pair.overdue.stop();
  }

  #endPair(): void {
    this.#decide();
    this.#pair?.prefill.abort();
  }
}
