// One request that is to be split: which prefillers are left, what became of those that were asked, and
// what follows from it.
//
//   ok                                             the decoder is handed what it said
//   no-parameters, busy                            the decoder computes
//   unreachable, broken, overloaded, unavailable,  another prefiller, within retriesMax and the retry
//   off-list, unsupported                          budget; then the decoder computes
//   timeout                                        the same where both legs run at once; else there is no time
//                                                  left for another, and the decoder computes
//   engine-error                                   as the policy has it: the decoder computes, or the
//                                                  client gets the answer; so where no decoder computes
//   refused                                        the client gets the answer
//   cancelled                                      nothing
//
// Where a decoder computes no prompt, nobody serves: it is not asked, and who sent the request picks again.

import { randomUUID } from "node:crypto";
import { DISAGGREGATION_METRIC } from "../../../telemetry/disaggregation-names.ts";
import type { EnginePool } from "../engine-pools.ts";
import type { KeptAnswer } from "../kept-answer.ts";
import { BodyLoan } from "../request-body.ts";
import { UNKNOWN_USAGE } from "../../protocol/answer-usage.ts";
import type { Stop, WalkLeg } from "../walk.ts";
import type { Connector, DecodeLeg, HandOff, Pairing } from "./connector.ts";
import { rankOf } from "./data-parallel.ts";
import type { Overdue } from "./overdue.ts";
import { prefill, type Prefilled, type PrefillOutcome } from "./prefill.ts";
import type { PrefillReport, SplitContext, SplitRequest, StageFacts } from "./split-request.ts";

/** A prefiller and a decoder, and what they are sent. */
export interface Paired {
  readonly pool: EnginePool;
  readonly connector: Connector;
  readonly handOff: HandOff;
}

/** A prefill that was asked for. */
interface Ran extends Prefilled {
  /** What the decoder is handed; only of one that is ok and whose answer was needed. */
  readonly leg?: DecodeLeg;
}

/** Outcomes in which no engine has worked. */
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
  /** No engine's connector can edit it: the decoder gets it as it is, and says so to the client. */
  #isBodyUnfit = false;
  /** The one that a prefiller was looked for last. */
  #decoder: string;
  #retries = 0;
  #runs: Prefilled[] = [];
  #connector: string;
  #startedAtMs: number | undefined;
  #endedAtMs = 0;
  /** How the decoder that answered was asked. */
  #served: "handed-over" | "alone" | undefined;
  /** The client has seen its first byte. */
  #hasBegun = false;

  constructor(context: SplitContext, request: SplitRequest) {
    this.context = context;
    this.request = request;
    this.loan = new BodyLoan(context.budget);
    this.#left = [...request.stages.prefillers];
    this.#decoder = request.destinations[0]!;
    this.#connector = this.connectorOf(this.#decoder)?.name ?? "none";
  }

  get isOver(): boolean {
    return this.#isOver || this.request.signal.aborted;
  }

  /** How long prefills may still take that come before the decode. */
  get leftMs(): number {
    return Math.max(0, this.request.decodeByMs - this.context.clock());
  }

  /** When the last prefill ended; undefined before the first one has. */
  get prefillEndedAtMs(): number | undefined {
    return this.#runs.length === 0 ? undefined : this.#endedAtMs;
  }

  connectorOf(address: string): Connector | undefined {
    const endpoint = this.context.pools.get(address)?.endpoint;
    return endpoint === undefined ? undefined : this.context.connectors.of(endpoint);
  }

  /** What a decoder is sent that nobody prefills for. */
  alone(endpoint: string, headers: WalkLeg["headers"]): WalkLeg | Stop {
    const { body, signal } = this.request;
    if (this.stop !== undefined) return { stop: this.stop };
    const needsPrefill = this.connectorOf(endpoint)?.needsPrefill === true;
    if (needsPrefill && !this.#isBodyUnfit && !signal.aborted) return { stop: "unpaired" };
    return { body, headers };
  }

  /** The next prefiller for a decoder; undefined where nobody is to prefill for it. */
  async next(decoder: string): Promise<Paired | undefined> {
    const { context, request } = this;
    this.#decoder = decoder;
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
      if (connector.order === "sequential" && this.leftMs === 0) {
        this.#failedUnasked(address, "timeout");
        continue;
      }
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

  /** A decoder could do nothing with what this one prefilled: others are asked before it. */
  lost({ pool: { address } }: Paired): void {
    const others = this.#left.filter((other) => other !== address);
    if (others.length < this.#left.length) this.#left = [...others, address];
  }

  /** Asks a prefiller, and draws the conclusions. Never rejects. */
  async prefill(
    { pool, connector, handOff }: Paired,
    until: { readonly signal: AbortSignal; readonly overdue: Overdue },
  ): Promise<Ran> {
    const { context, request } = this;
    const phase = request.startPhase("prefill");
    const { body, headers } = handOff.prefill;
    const isAnswerNeeded = connector.order === "sequential";
    // One that was given little was not slow.
    const isFairTime = 2 * this.leftMs >= context.prefillPolicy.timeoutMs;
    const answered = await prefill(context, pool, {
      path: request.path,
      leg: { body, headers: { ...request.headers(pool.address, phase), ...headers } },
      ...until,
      // One that runs beside its decode waits for that, too.
      blamesTimeout: isAnswerNeeded && isFairTime,
      hasBroken: this.#runs.some(({ outcome }) => outcome === "broken"),
      ...(isAnswerNeeded ? { loan: this.loan } : {}),
    });
    const isLegDue = answered.outcome === "ok" && isAnswerNeeded;
    const leg = isLegDue ? handOff.decode(answered.body) : undefined;
    const isUseful = leg?.isHandedOver ?? true;
    const run: Prefilled = isUseful ? answered : { ...answered, outcome: "no-parameters" };
    if (connector.bootstrap !== undefined && run.outcome !== "ok") {
      context.bootstraps.forget(pool.address);
    }
    phase.end(spanFacts(run, connector.name));
    this.#ended(run, isAnswerNeeded);
    return leg === undefined || !isUseful ? run : { ...run, leg };
  }

  /** A decoder answered with a 2xx, to what it was handed or to the prompt alone. */
  served(how: "handed-over" | "alone"): void {
    this.#served = how;
    this.#isOver = true;
  }

  /** The client is sent the answer's first byte. */
  firstByte(): void {
    this.#hasBegun = true;
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
    // One that is cut off when the answer has ended had done its part.
    const hasDoneItsPart =
      last?.outcome === "cancelled" && this.#served === "handed-over" && this.#hasBegun;
    return {
      connector: this.#connector,
      prefill: last?.endpoint ?? null,
      outcome: hasDoneItsPart ? "ok" : (last?.outcome ?? this.#whyNobody()),
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
    const connector = this.context.connectors.of(pool.endpoint);
    return this.connectorOf(decoder) === connector ? connector : undefined;
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
    this.#isBodyUnfit = true;
    this.#failedUnasked(pool.address, "unsupported");
    return undefined;
  }

  #failedUnasked(endpoint: string, outcome: PrefillOutcome): void {
    const isAnswerNeeded = this.connectorOf(this.#decoder)?.order === "sequential";
    this.#ended({ endpoint, outcome, durationMs: 0, usage: UNKNOWN_USAGE }, isAnswerNeeded);
  }

  #ended(run: Prefilled, isAnswerNeeded: boolean): void {
    const { context, request } = this;
    this.#runs.push(run);
    this.#endedAtMs = context.clock();
    const { outcome, endpoint, kept } = run;
    const connector = this.#connector;
    context.registry.inc(DISAGGREGATION_METRIC.relayPrefillsTotal, { connector, outcome });
    if (outcome === "ok") {
      const { relayPrefillSeconds } = DISAGGREGATION_METRIC;
      context.registry.observe(relayPrefillSeconds, { connector }, run.durationMs / 1_000);
    }
    if (outcome === "refused" || (outcome === "engine-error" && this.#returnsErrors())) {
      this.stop = kept;
    }
    if (outcome !== "ok" && outcome !== "cancelled") {
      this.#left = this.#left.filter((address) => address !== endpoint);
    }
    this.#isOver ||= this.#isLast(outcome, isAnswerNeeded);
    const report: PrefillReport = { ...run, isLast: this.isOver };
    request.onPrefilled(report);
  }

  /** It may be the request's doing, so nobody else is asked to prefill: the decoder must, if it can. */
  #returnsErrors(): boolean {
    const { onEngineError } = this.context.prefillPolicy;
    return onEngineError === "return" || this.connectorOf(this.#decoder)?.needsPrefill === true;
  }

  /** Whether nobody is asked after one that ended like this. */
  #isLast(outcome: PrefillOutcome, isAnswerNeeded: boolean): boolean {
    switch (outcome) {
      case "ok":
        // Where both legs run at once, a decoder that fails is paired anew.
        return isAnswerNeeded;
      case "cancelled":
        return false;
      case "refused":
      case "engine-error":
      case "no-parameters":
      case "busy":
      case "spared":
        return true;
      case "unsupported":
        return this.#isBodyUnfit || !this.#isAnyLeft();
      case "timeout":
        return isAnswerNeeded || !this.#mayRetry(outcome);
      case "unreachable":
      case "off-list":
      case "broken":
      case "overloaded":
      case "unavailable":
        return !this.#mayRetry(outcome);
    }
  }

  #mayRetry(outcome: PrefillOutcome): boolean {
    if (this.#isOver || !this.#isAnyLeft()) return false;
    // What was never an endpoint here is no try.
    if (outcome === "off-list") return true;
    this.#retries += 1;
    if (this.#retries > this.context.prefillPolicy.retriesMax) return false;
    return FREE.has(outcome) || this.context.retries.tryWithdraw();
  }

  #isAnyLeft(): boolean {
    return this.#preferred(this.#decoder) !== undefined;
  }
}

function spanFacts({ endpoint, outcome, durationMs }: Prefilled, connector: string) {
  return {
    "llm_d.pd_proxy.connector": connector,
    "llm_d.pd_proxy.prefill_target": endpoint,
    "llm_d.pd_proxy.prefill_duration_ms": durationMs,
    "fairlead.outcome": outcome,
  };
}
