// One request that is to be split: which prefillers are left, what became of those that were asked, and
// what follows from it.
//
//   ok                                             the decoder is handed what it said
//   no-parameters                                  the decoder computes
//   unreachable, broken, timeout, overloaded,      another prefiller, within retriesMax and the retry
//   unavailable, off-list                          budget; then the decoder computes
//   engine-error                                   as the policy has it: the decoder computes, or the
//                                                  client gets the answer
//   refused                                        the client gets the answer
//   cancelled                                      nothing

import { randomUUID } from "node:crypto";
import { DISAGGREGATION_METRIC } from "../../../telemetry/disaggregation-names.ts";
import type { EnginePool } from "../engine-pools.ts";
import type { KeptAnswer } from "../kept-answer.ts";
import { BodyLoan } from "../request-body.ts";
import { UNKNOWN_USAGE } from "../usage.ts";
import type { Connector, HandOff, Pairing } from "./connector.ts";
import { rankOf } from "./data-parallel.ts";
import { prefill, type Prefilled, type PrefillOutcome } from "./prefill.ts";
import type { SplitContext, SplitRequest, StageFacts } from "./split-request.ts";

/** A prefiller and a decoder, and what they are sent. */
export interface Paired {
  readonly pool: EnginePool;
  readonly connector: Connector;
  readonly handOff: HandOff;
}

/** Failures that another prefiller may better, and of these those in which no engine has worked. */
const RETRIED: ReadonlySet<PrefillOutcome> = new Set([
  "unreachable",
  "off-list",
  "broken",
  "timeout",
  "overloaded",
  "unavailable",
]);
const FREE: ReadonlySet<PrefillOutcome> = new Set(["unreachable", "off-list"]);

export class SplitState {
  readonly context: SplitContext;
  readonly request: SplitRequest;
  readonly loan: BodyLoan;
  /** In place of decoding: what the client is to get. */
  stop: KeptAnswer | undefined;
  /** Prefillers that may still be asked, in order. */
  #left: string[];
  /** Nobody is asked to prefill any more. */
  #isOver = false;
  #retries = 0;
  #runs: Prefilled[] = [];
  #connector: string;
  #startedAtMs: number | undefined;
  #endedAtMs = 0;
  /** How the decoder that answered was asked. */
  #served: "handed-over" | "alone" | undefined;

  constructor(context: SplitContext, request: SplitRequest) {
    this.context = context;
    this.request = request;
    this.loan = new BodyLoan(context.budget);
    this.#left = [...request.stages.prefillers];
    const decoder = context.pools.get(request.destinations[0]!)?.endpoint;
    const connector = decoder === undefined ? undefined : context.connectors.of(decoder);
    this.#connector = connector?.name ?? "none";
  }

  get isOver(): boolean {
    return this.#isOver || this.request.signal.aborted;
  }

  /** When the last prefill ended; undefined before the first one has. */
  get prefillEndedAtMs(): number | undefined {
    return this.#runs.length === 0 ? undefined : this.#endedAtMs;
  }

  /** The next prefiller for a decoder; undefined where that is to compute the prompt itself. */
  async next(decoder: string): Promise<Paired | undefined> {
    const { context, request } = this;
    while (!this.isOver) {
      const address = this.#preferred(decoder);
      if (address === undefined) return undefined;
      const pool = context.pools.get(address);
      if (pool === undefined) {
        this.#failedUnasked(address, "off-list");
        continue;
      }
      const connector = this.#connectorFor(pool, decoder);
      if (connector === undefined) {
        this.#failedUnasked(address, "unsupported");
        continue;
      }
      this.#connector = connector.name;
      this.#startedAtMs ??= context.clock();
      const { bootstrap: at } = connector;
      const bootstrap =
        at === undefined ? undefined : await context.bootstraps.ask(address, at, request.signal);
      if (at !== undefined && bootstrap === undefined) {
        this.#failedUnasked(address, request.signal.aborted ? "cancelled" : "unreachable");
        continue;
      }
      return this.#pair(pool, connector, this.#pairing(pool, decoder, bootstrap));
    }
    return undefined;
  }

  /** A decoder answered without the prefiller that it was paired with. */
  spared({ pool }: Paired): void {
    this.#failedUnasked(pool.address, this.isOver ? "cancelled" : "spared");
  }

  /** Asks a prefiller, and draws the conclusions. Never rejects. */
  async prefill({ pool, connector, handOff }: Paired, signal: AbortSignal): Promise<Prefilled> {
    const { context, request } = this;
    const phase = request.startPhase("prefill");
    const { body, headers } = handOff.prefill;
    const isAnswerNeeded = connector.order === "sequential";
    const answered = await prefill(context, pool, {
      path: request.path,
      leg: { body, headers: { ...request.headers(pool.address, phase), ...headers } },
      signal,
      timeoutMs: context.prefillPolicy.timeoutMs,
      ...(isAnswerNeeded ? { loan: this.loan } : {}),
    });
    const isUseful =
      answered.outcome !== "ok" || !isAnswerNeeded || isHandedOver(handOff, answered);
    const run: Prefilled = isUseful ? answered : { ...answered, outcome: "no-parameters" };
    if (connector.bootstrap !== undefined && run.outcome !== "ok") {
      context.bootstraps.forget(pool.address);
    }
    phase.end(spanFacts(run, connector.name));
    this.#ended(run);
    return run;
  }

  /** A decoder answered with a 2xx, to what it was handed or to the prompt alone. */
  served(how: "handed-over" | "alone"): void {
    this.#served = how;
  }

  /** What became of it all; counts it, and gives back what the legs took. To be called once. */
  end(): StageFacts {
    this.loan.release();
    const { registry } = this.context;
    const connector = this.#connector;
    const facts = this.#facts();
    registry.inc(DISAGGREGATION_METRIC.relaySplitsTotal, { connector, result: this.#result() });
    if (facts.isStranded) registry.inc(DISAGGREGATION_METRIC.relayStrandedTotal, { connector });
    return facts;
  }

  #facts(): StageFacts {
    const last = this.#runs.at(-1);
    const failed = this.#runs.slice(0, -1).map(({ endpoint }) => endpoint);
    return {
      connector: this.#connector,
      prefill: last?.endpoint ?? null,
      // One that is cut off when the answer has ended had done its part.
      outcome: this.#served === "handed-over" ? "ok" : (last?.outcome ?? this.#whyNobody()),
      prefillMs: Math.max(0, this.#endedAtMs - (this.#startedAtMs ?? this.#endedAtMs)),
      failed: [...new Set(failed)].filter((endpoint) => endpoint !== last?.endpoint),
      isDecodeOnly: this.#served === "alone",
      isStranded: last?.outcome === "ok" && this.#served !== "handed-over",
    };
  }

  #whyNobody(): PrefillOutcome {
    if (this.request.stages.prefillers.length === 0) return "off-list";
    return this.request.signal.aborted ? "cancelled" : "unsupported";
  }

  /** Closed set: a metric label. */
  #result(): "split" | "decode-only" | "returned" | "failed" {
    if (this.#served === "handed-over") return "split";
    if (this.#served === "alone") return "decode-only";
    return this.stop === undefined ? "failed" : "returned";
  }

  /** Unmarked ones come first; a decoder is not asked to prefill for itself. */
  #preferred(decoder: string): string | undefined {
    const { marks } = this.context;
    const others = this.#left.filter((address) => address !== decoder);
    return others.find((address) => !marks.isMarked(address)) ?? others[0];
  }

  /** Both engines must speak of the hand-off in the same way. */
  #connectorFor(pool: EnginePool, decoder: string): Connector | undefined {
    const { connectors, pools } = this.context;
    const connector = connectors.of(pool.endpoint);
    const other = pools.get(decoder)?.endpoint;
    const isShared = other !== undefined && connectors.of(other) === connector;
    return isShared ? connector : undefined;
  }

  #pairing(pool: EnginePool, decoder: string, bootstrap: unknown): Pairing {
    const { kvSource } = this.request.stages;
    const prefillRank = rankOf(pool.endpoint);
    return {
      prefiller: pool.address,
      decoder,
      transferId: randomUUID(),
      ...(kvSource === undefined ? {} : { kvSource }),
      ...(bootstrap === undefined ? {} : { bootstrap }),
      ...(prefillRank === undefined ? {} : { prefillRank }),
    };
  }

  #pair(pool: EnginePool, connector: Connector, pairing: Pairing): Paired | undefined {
    const { api, body } = this.request;
    // Two copies of the body besides the client's own: a leg each. Those of an earlier pair are gone.
    this.loan.release();
    if (!this.loan.tryTake(2 * body.byteLength)) {
      this.#failedUnasked(pool.address, "busy");
      return undefined;
    }
    const handOff = connector.handOff({ api, body }, pairing);
    if (handOff !== undefined) return { pool, connector, handOff };
    this.#failedUnasked(pool.address, "unsupported");
    this.#isOver = true;
    return undefined;
  }

  #failedUnasked(endpoint: string, outcome: PrefillOutcome): void {
    this.#ended({ endpoint, outcome, durationMs: 0, usage: UNKNOWN_USAGE });
  }

  #ended(run: Prefilled): void {
    const { context, request } = this;
    this.#runs.push(run);
    this.#endedAtMs = context.clock();
    const { outcome, endpoint } = run;
    const connector = this.#connector;
    context.registry.inc(DISAGGREGATION_METRIC.relayPrefillsTotal, { connector, outcome });
    if (outcome === "ok") {
      const { relayPrefillSeconds } = DISAGGREGATION_METRIC;
      context.registry.observe(relayPrefillSeconds, { connector }, run.durationMs / 1_000);
    }
    request.onPrefilled(run);
    if (outcome === "ok" || outcome === "cancelled") return;
    this.#left = this.#left.filter((address) => address !== endpoint);
    if (outcome === "unsupported") return;
    const isReturned = outcome === "refused" || context.prefillPolicy.onEngineError === "return";
    if (outcome === "refused" || outcome === "engine-error") {
      if (isReturned) this.stop = run.kept;
      this.#isOver = true;
      return;
    }
    if (!RETRIED.has(outcome) || !this.#mayRetry(outcome)) this.#isOver = true;
  }

  #mayRetry(outcome: PrefillOutcome): boolean {
    if (this.#left.length === 0) return false;
    // What was never an endpoint here is no try.
    if (outcome === "off-list") return true;
    this.#retries += 1;
    if (this.#retries > this.context.prefillPolicy.retriesMax) return false;
    return FREE.has(outcome) || this.context.retries.tryWithdraw();
  }
}

function isHandedOver(handOff: HandOff, { body }: Prefilled): boolean {
  return handOff.decode(body).isHandedOver;
}

function spanFacts({ endpoint, outcome, durationMs }: Prefilled, connector: string) {
  return {
    "llm_d.pd_proxy.connector": connector,
    "llm_d.pd_proxy.prefill_target": endpoint,
    "llm_d.pd_proxy.prefill_duration_ms": durationMs,
    "fairlead.outcome": outcome,
  };
}
