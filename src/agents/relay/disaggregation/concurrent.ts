// Prefill and decode at once: both engines meet under a name that is new for each pair.
//
//   prefill fails before the answer's first byte   the decoder would wait for ever: its leg is withdrawn, and
//                                                  it is paired with another prefiller, or computes
//   decode fails                                   the prefiller would wait for ever: it is told to stop, and
//                                                  paired with the next decoder
//   decode answers                                 the prefiller is let end; it has at the latest when the
//                                                  answer ends

import { DISAGGREGATION_METRIC } from "../../../telemetry/disaggregation-names.ts";
import type { Walk, WalkLeg } from "../walk.ts";
import { walkInChunks } from "./chunked-walk.ts";
import type { Phase, Split, StageFacts } from "./split-request.ts";
import type { Paired, SplitState } from "./split-state.ts";

interface Pair {
  readonly paired: Paired;
  /** Ends the prefiller's leg. */
  readonly prefill: AbortController;
  /** Withdraws the decoder's leg. */
  readonly decode: AbortController;
  /** Resolves when the prefill has ended and has been reported. */
  ended: Promise<void>;
  isOver: boolean;
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

class Pairs {
  readonly #state: SplitState;
  /** Of the endpoint that is tried; undefined where it computes the prompt itself. */
  #pair: Pair | undefined;
  #phase: Phase | undefined;
  #startedAtMs = 0;
  #hasBegun = false;

  constructor(state: SplitState) {
    this.#state = state;
  }

  async walk(): Promise<Walk> {
    const { context, request } = this.#state;
    this.#phase = request.startPhase("decode");
    this.#startedAtMs = context.clock();
    const walked = await walkInChunks(context, {
      ...request,
      leg: async (endpoint) => {
        const leg = await this.#leg(endpoint);
        const { stop } = this.#state;
        return stop === undefined ? leg : { stop };
      },
      onAttempt: (outcome, endpoint) => {
        if (outcome !== "answered" && outcome !== "withdrawn") this.#endPair();
        request.onAttempt(outcome, endpoint);
      },
    });
    const { result } = walked;
    const isServed = result.kind === "answered" && result.answer.statusCode < 300;
    if (isServed) this.#state.served(this.#pair === undefined ? "alone" : "handed-over");
    else this.#endPair();
    return walked;
  }

  firstByte(): void {
    const { context } = this.#state;
    this.#hasBegun = true;
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

  async #leg(endpoint: string): Promise<WalkLeg> {
    const { request } = this.#state;
    const headers = request.headers(endpoint, this.#phase);
    // The prefill of the pair before is reported before another one begins.
    await this.#pair?.ended;
    const paired = await this.#state.next(endpoint);
    this.#pair = undefined;
    if (paired === undefined) return { body: request.body, headers };
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
    const prefill = new AbortController();
    const pair: Pair = { paired, prefill, decode, ended: Promise.resolve(), isOver: false };
    const signal = AbortSignal.any([this.#state.request.signal, prefill.signal]);
    pair.ended = this.#state.prefill(paired, signal).then(({ outcome }) => {
      // What the client has seen a byte of, the prefiller has done its part for.
      if (outcome !== "ok" && !pair.isOver && !this.#hasBegun) decode.abort();
    });
    this.#pair = pair;
  }

  #endPair(): void {
    if (this.#pair === undefined) return;
    this.#pair.isOver = true;
    this.#pair.prefill.abort();
  }
}
