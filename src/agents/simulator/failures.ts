// Failures injected on purpose: which request fails, and how. The list is set by flags and, while the
// engine runs, by POST /sim/failures. A failure ends by its `count`, by being replaced, or, for
// `refuse`, by itself after `delayMs`.

import { z } from "zod";
import type { Rng } from "../../scheduler/support/rng.ts";
import type { EngineError } from "./errors.ts";

/** Failures that can be set at once. */
const FAILURES_MAX = 16;
/** How long a request can be stalled, and a listener closed. */
const DELAY_MS_MAX = 600_000;

const delayMs = z.number().int().min(0).max(DELAY_MS_MAX);
const afterChunks = z
  .number()
  .int()
  .min(0)
  .max(1_000_000)
  .describe("Chunks of the stream that are sent first. A plain answer has two: its halves.");
const chance = {
  rate: z.number().gt(0).max(1).default(1).describe("Share of the requests that fail."),
  count: z
    .number()
    .int()
    .min(1)
    .max(1_000_000)
    .optional()
    .describe("Requests that fail before the failure is over; without it, it stays."),
};

const failureSchema = z.discriminatedUnion("kind", [
  // The listener closes and every connection is reset; after delayMs it listens again.
  z.strictObject({ kind: z.literal("refuse"), delayMs: delayMs.default(1_000) }),
  z.strictObject({ kind: z.literal("429"), ...chance }),
  z.strictObject({ kind: z.literal("503"), ...chance }),
  // The headers come late.
  z.strictObject({ kind: z.literal("slow-headers"), delayMs: delayMs.default(1_000), ...chance }),
  // The headers come at once, the first byte of the body late.
  z.strictObject({ kind: z.literal("stall-before"), delayMs: delayMs.default(60_000), ...chance }),
  z.strictObject({
    kind: z.literal("stall-mid"),
    delayMs: delayMs.default(60_000),
    afterChunks: afterChunks.default(2),
    ...chance,
  }),
  // The connection is reset; with afterChunks 0 before the headers.
  z.strictObject({ kind: z.literal("reset"), afterChunks: afterChunks.default(0), ...chance }),
  // One chunk that is not JSON; the others follow.
  z.strictObject({
    kind: z.literal("malformed-chunk"),
    afterChunks: afterChunks.default(1),
    ...chance,
  }),
]);

const failuresSchema = z.array(failureSchema).max(FAILURES_MAX);

export type Failure = z.output<typeof failureSchema>;

/** Parses a JSON list of failures, or a single one. */
export function parseFailures(
  text: string,
):
  | { readonly ok: true; readonly value: readonly Failure[] }
  | { readonly ok: false; readonly message: string } {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // Reached by text that is not JSON; the parser's own message would repeat the text.
    return { ok: false, message: 'not JSON; e.g. [{"kind": "503", "rate": 0.5}]' };
  }
  const parsed = failuresSchema.safeParse(Array.isArray(json) ? json : [json]);
  return parsed.success
    ? { ok: true, value: parsed.data }
    : { ok: false, message: z.prettifyError(parsed.error).replaceAll("\n", " ") };
}

/** The errors of llm-d-inference-sim's `failure-types`. */
const INJECTED_ERRORS = {
  rate_limit: { status: 429, type: "rate_limit_exceeded", message: "Rate limit reached." },
  invalid_api_key: { status: 401, type: "invalid_request_error", message: "Incorrect API key." },
  context_length: {
    status: 400,
    type: "invalid_request_error",
    message: "This model's maximum context length was exceeded.",
  },
  server_error: { status: 503, type: "server_error", message: "The server is overloaded." },
  invalid_request: { status: 400, type: "invalid_request_error", message: "Invalid request." },
  model_not_found: { status: 404, type: "invalid_request_error", message: "Model not found." },
} as const;

export type FailureType = keyof typeof INJECTED_ERRORS;
export const FAILURE_TYPES = Object.keys(INJECTED_ERRORS) as readonly FailureType[];

const INJECTED_STATUS: Readonly<Record<"429" | "503", EngineError>> = {
  "429": { ...INJECTED_ERRORS.rate_limit, type: "TooManyRequestsError", param: null },
  "503": { ...INJECTED_ERRORS.server_error, type: "ServiceUnavailableError", param: null },
};

/** Parses `--failure-types`. Undefined if one is unknown. */
export function parseFailureTypes(text: string): readonly FailureType[] | undefined {
  const names = text.split(",").map((name) => name.trim());
  const types = FAILURE_TYPES.filter((type) => names.includes(type));
  return names.every((name) => (FAILURE_TYPES as readonly string[]).includes(name))
    ? types
    : undefined;
}

/** How one request is to fail. */
export type Injection =
  | { readonly kind: "error"; readonly error: EngineError }
  | Exclude<Failure, { kind: "refuse" | "429" | "503" }>;

export interface FailureConfig {
  readonly failures: readonly Failure[];
  /** Per cent of requests that get one of `types`. */
  readonly ratePercent: number;
  readonly types: readonly FailureType[];
}

/** Decides which requests of one engine fail. */
export class FailureInjector {
  readonly #ratePercent: number;
  readonly #types: readonly FailureType[];
  readonly #rng: Rng;
  #active: { failure: Exclude<Failure, { kind: "refuse" }>; left: number }[] = [];

  constructor(config: FailureConfig, rng: Rng) {
    this.#ratePercent = config.ratePercent;
    this.#types = config.types;
    this.#rng = rng;
    this.replace(config.failures);
  }

  /** Failures still to come. */
  get active(): readonly Failure[] {
    return this.#active.map((entry) => entry.failure);
  }

  /** Sets what fails from now on. `refuse` is about the listener, which its owner closes. */
  replace(failures: readonly Failure[]): void {
    this.#active = [];
    for (const failure of failures) {
      if (failure.kind === "refuse") continue;
      this.#active.push({ failure, left: failure.count ?? Infinity });
    }
  }

  /** How the next request fails; undefined if it does not. Uses up one of `count`. */
  draw(): Injection | undefined {
    for (const entry of this.#active) {
      if (this.#rng() >= entry.failure.rate) continue;
      entry.left--;
      if (entry.left <= 0) this.#active = this.#active.filter((other) => other !== entry);
      const { failure } = entry;
      return failure.kind === "429" || failure.kind === "503"
        ? { kind: "error", error: INJECTED_STATUS[failure.kind] }
        : failure;
    }
    if (this.#rng() * 100 >= this.#ratePercent) return undefined;
    const type = this.#types[Math.floor(this.#rng() * this.#types.length)]!;
    return { kind: "error", error: { ...INJECTED_ERRORS[type], param: null } };
  }
}
