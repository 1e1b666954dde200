// Prefill, then decode: the decoder is handed what the prefiller answered. Where the connector has a
// question, the decoder is asked it before, and may answer the client without any prefill.
//
// What was handed over may be used once. It goes to another decoder only where the one before cannot have
// pulled anything: unreachable, 429, 502, 503. After a connection that broke, or a 5xx or a stream that begins
// with an error to what was handed over (a prefiller that died meanwhile, an expired lease), decoders compute
// the prompt themselves.

import { DISAGGREGATION_METRIC } from "../../../telemetry/disaggregation-names.ts";
import type { Stop, Walk, WalkLeg } from "../walk.ts";
import { askDecoders, type Decoders } from "./ask-decoders.ts";
import type { CachedTokens } from "./cached-tokens.ts";
import { walkInChunks } from "./chunked-walk.ts";
import type { DecodeLeg } from "./connector.ts";
import { Overdue } from "./overdue.ts";
import { askProbe } from "./probe.ts";
import type { Phase, Split } from "./split-request.ts";
import type { Paired, SplitState } from "./split-state.ts";

/** What a prefiller gave, until it is spent. */
interface HandedOver {
  readonly paired: Paired;
  readonly leg: DecodeLeg;
  readonly cachedTokens: CachedTokens;
}

/** Never rejects. */
export async function splitInOrder(state: SplitState): Promise<Split> {
  const handed = await prefillFirst(state);
  if (handed !== undefined && "result" in handed) return served(state, handed);
  if (state.stop !== undefined) return stopped(state, state.stop.endpoint);
  const decoder = new Decoder(state, handed);
  const walked = await decoder.walk();
  return {
    walked,
    cachedTokens: decoder.isHandedOver ? handed?.cachedTokens : undefined,
    onFirstByte: () => decoder.firstByte(),
    end() {
      decoder.end(walked);
      return Promise.resolve(state.end());
    },
  };
}

/** What the decoder is handed; or, where it was asked and needs nothing, its answer. */
async function prefillFirst(state: SplitState): Promise<HandedOver | Walk | undefined> {
  const { request } = state;
  const [decoder] = request.destinations;
  for (let isFirst = true; ; isFirst = false) {
    const paired = await state.next(decoder!);
    if (paired === undefined) return undefined;
    const walked = isFirst ? await askProbe(state, paired, decoder!) : undefined;
    if (walked !== undefined) {
      state.spared(paired);
      return walked;
    }
    const overdue = new Overdue(state.leftMs);
    const { leg, usage } = await state.prefill(paired, { signal: request.signal, overdue });
    if (leg === undefined) continue;
    const cachedTokens = { api: request.api, count: usage.cachedTokens ?? 0 };
    return { paired, leg, cachedTokens };
  }
}

/** The client gets a prefiller's answer, and nobody decodes. */
function stopped(state: SplitState, endpoint: string): Split {
  const result = { kind: "exhausted", kept: state.stop } as const;
  return served(state, { endpoint, failed: [], triedCount: 1, result });
}

function served(state: SplitState, walked: Walk): Split {
  const { result } = walked;
  if (result.kind === "answered" && result.answer.statusCode < 300) state.served("alone");
  return {
    walked,
    cachedTokens: undefined,
    onFirstByte: () => undefined,
    end: () => Promise.resolve(state.end()),
  };
}

class Decoder implements Decoders {
  readonly #state: SplitState;
  readonly #handed: HandedOver | undefined;
  /** What was handed over was not pulled by anybody. */
  #isGood = true;
  /** The endpoint that is tried was handed it. */
  #isHandedOver = false;
  #phase: Phase | undefined;
  #startedAtMs = 0;
  #firstByteMs: number | undefined;

  constructor(state: SplitState, handed: HandedOver | undefined) {
    this.#state = state;
    this.#handed = handed;
  }

  get isHandedOver(): boolean {
    return this.#isHandedOver;
  }

  walk(): Promise<Walk> {
    const { context, request } = this.#state;
    this.#phase = request.startPhase("decode");
    this.#startedAtMs = context.clock();
    return askDecoders(this.#state, this);
  }

  /** What was handed over could not be used: decoders compute. */
  lost(): void {
    this.#isGood = false;
  }

  firstByte(): void {
    const { context } = this.#state;
    this.#firstByteMs = context.clock() - this.#startedAtMs;
    this.#state.firstByte();
    if (!this.#isHandedOver || this.#handed === undefined) return;
    const { name: connector } = this.#handed.paired.connector;
    const { relayHandOffSeconds } = DISAGGREGATION_METRIC;
    context.registry.observe(relayHandOffSeconds, { connector }, this.#firstByteMs / 1_000);
  }

  end({ endpoint }: Walk): void {
    const beganAtMs = this.#state.prefillEndedAtMs ?? this.#startedAtMs;
    this.#phase?.end({
      "llm_d.pd_proxy.coordinator_overhead_ms": this.#startedAtMs - beganAtMs,
      "llm_d.pd_proxy.decode_target": endpoint,
      "llm_d.pd_proxy.decode_duration_ms": this.#state.context.clock() - this.#startedAtMs,
      "llm_d.pd_proxy.disaggregation_used": this.#isHandedOver,
    });
  }

  ask(destinations: readonly string[]): Promise<Walk> {
    const { context, request } = this.#state;
    return walkInChunks(context, {
      ...request,
      destinations,
      leg: (endpoint) => this.#leg(endpoint),
      onAttempt: (outcome, endpoint) => {
        if (outcome === "broken") this.#isGood = false;
        request.onAttempt(outcome, endpoint);
      },
    });
  }

  #leg(endpoint: string): WalkLeg | Stop {
    const { request, context } = this.#state;
    const common = request.headers(endpoint, this.#phase);
    const handed = this.#handed;
    const pool = context.pools.get(endpoint);
    // A prefiller that is to decode after all has the prompt: it needs nothing from itself.
    this.#isHandedOver =
      handed !== undefined &&
      pool !== undefined &&
      this.#isGood &&
      endpoint !== handed.paired.pool.address &&
      context.connectors.of(pool.endpoint) === handed.paired.connector;
    if (!this.#isHandedOver || handed === undefined) return this.#state.alone(endpoint, common);
    const { body, headers } = handed.leg;
    return { body, headers: { ...common, ...headers } };
  }
}
