// A second configuration that looks at every decision of a pool after it was taken. Nothing that it
// chooses is carried out; what it remembers is of where requests really went.
//
// It costs one more pick a request. One that throws is switched off until the configuration changes,
// and the pool goes on.

import type { SchedulerConfig } from "../scheduler/config/scheduler-config.ts";
import { EndpointPicker, type Picked, type PickInput } from "../scheduler/endpoint-picker.ts";
import { CONTENT_BLOCK_TOKENS } from "../scheduler/kv/content-keys.ts";
import { predictTtftMs } from "../scheduler/model/predict-ttft.ts";
import type { Dropped, DropReason } from "../scheduler/outcome.ts";
import type { MetricRegistry } from "../telemetry/metrics.ts";
import { METRIC } from "../telemetry/names.ts";
import type { ShadowState } from "./state.ts";

/** Of a failure's message, which is ours: no plugin has the prompt. */
const FAILURE_CHARS_MAX = 200;

/** What is predicted of a choice. */
interface Prediction {
  readonly hitTokens: number;
  readonly ttftMs: number;
}

/** One a pool and configuration. */
export class Shadow {
  readonly #registry: MetricRegistry;
  #picker: EndpointPicker | undefined;
  #failure: string | undefined;
  #decisions = 0;
  #same = 0;
  #onlyShadowRefused = 0;
  #onlyShadowAccepted = 0;
  /** Of decisions for which both have a prediction. */
  #compared = 0;
  readonly #real = { hitTokens: 0, ttftMs: 0 };
  readonly #shadow = { hitTokens: 0, ttftMs: 0 };

  constructor(scheduler: SchedulerConfig, registry: MetricRegistry) {
    this.#registry = registry;
    try {
      this.#picker = new EndpointPicker(scheduler, undefined, rethrow);
    } catch (error) {
      this.#fail(error);
    }
  }

  /**
   * Takes the decision of `input` again, after `outcome`. `sparedBy` says whom its picker spares. Returns the slot it would
   * have chosen or why it would have refused; undefined once it is off.
   */
  observe(
    input: PickInput,
    outcome: Picked | Dropped,
    sparedBy: (picker: EndpointPicker) => Uint8Array | undefined,
  ): number | DropReason | undefined {
    const picker = this.#picker;
    if (picker === undefined) return undefined;
    let choice: Picked | Dropped;
    try {
      choice = picker.pick({ ...input, spared: sparedBy(picker), sentTo: outcome });
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
    this.#count(outcome, choice);
    this.#compare(predict(input, outcome), predict(input, choice));
    return choice.ok ? choice.slots[0]! : choice.reason;
  }

  endpointRemoved(slot: number): void {
    this.#tell((picker) => picker.onEndpointRemoved(slot));
  }

  endpointRestarted(slot: number): void {
    this.#tell((picker) => picker.onEndpointRestarted(slot));
  }

  get state(): ShadowState {
    const mean = (ms: number) => (this.#compared === 0 ? null : ms / this.#compared);
    return {
      isRunning: this.#picker !== undefined,
      ...(this.#failure === undefined ? {} : { failure: this.#failure }),
      decisions: this.#decisions,
      same: this.#same,
      onlyShadowRefused: this.#onlyShadowRefused,
      onlyShadowAccepted: this.#onlyShadowAccepted,
      compared: this.#compared,
      hitTokens: { real: this.#real.hitTokens, shadow: this.#shadow.hitTokens },
      meanPredictedTtftMs: { real: mean(this.#real.ttftMs), shadow: mean(this.#shadow.ttftMs) },
    };
  }

  #tell(event: (picker: EndpointPicker) => void): void {
    try {
      if (this.#picker !== undefined) event(this.#picker);
    } catch (error) {
      this.#fail(error);
    }
  }

  #count(outcome: Picked | Dropped, choice: Picked | Dropped): void {
    this.#decisions += 1;
    const kind = kindOf(outcome, choice);
    if (kind === "same") this.#same += 1;
    if (kind === "refused") this.#onlyShadowRefused += 1;
    if (kind === "accepted") this.#onlyShadowAccepted += 1;
    this.#registry.inc(METRIC.shadowDecisionsTotal, { outcome: kind });
  }

  #compare(real: Prediction | undefined, shadow: Prediction | undefined): void {
    if (real === undefined || shadow === undefined) return;
    this.#compared += 1;
    for (const [config, prediction, sums] of [
      ["real", real, this.#real],
      ["shadow", shadow, this.#shadow],
    ] as const) {
      sums.hitTokens += prediction.hitTokens;
      sums.ttftMs += prediction.ttftMs;
      this.#registry.inc(METRIC.shadowHitTokensTotal, { config }, prediction.hitTokens);
      const seconds = prediction.ttftMs / 1_000;
      this.#registry.inc(METRIC.shadowPredictedTtftSecondsTotal, { config }, seconds);
    }
  }

  #fail(error: unknown): void {
    this.#picker = undefined;
    const message = error instanceof Error ? error.message : String(error);
    this.#failure = message.slice(0, FAILURE_CHARS_MAX);
    this.#registry.inc(METRIC.shadowFailuresTotal, {});
  }
}

/** What a decision would go on without is reason enough to look at no more of them. */
function rethrow(_type: string, error: unknown): never {
  throw error;
}

function kindOf(outcome: Picked | Dropped, choice: Picked | Dropped) {
  if (outcome.ok && choice.ok)
    return outcome.slots[0] === choice.slots[0] && outcome.prefill?.[0] === choice.prefill?.[0]
      ? "same"
      : "different";
  if (outcome.ok === choice.ok) return "same";
  return outcome.ok ? "refused" : "accepted";
}

/** Undefined for a refusal, and where another endpoint than the first computes the prompt. */
function predict(
  { endpoints, request, nowMs }: PickInput,
  outcome: Picked | Dropped,
): Prediction | undefined {
  if (!outcome.ok || outcome.prefill !== undefined) return undefined;
  const { promptTokens } = request;
  const hitTokens = Math.min(promptTokens, outcome.matchedBlocks * CONTENT_BLOCK_TOKENS);
  const uncachedTokens = promptTokens - hitTokens;
  const ttftMs = predictTtftMs(endpoints, outcome.slots[0]!, { nowMs, uncachedTokens });
  return { hitTokens, ttftMs };
}
