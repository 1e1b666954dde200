// Has the items of a request encoded by engines that do nothing else, all at once, before anybody reads
// the prompt. Who reads it has an encoder, too: where one of these fails, the request goes on as it came.

import type { MetricRegistry } from "../../../telemetry/metrics.ts";
import { DISAGGREGATION_METRIC } from "../../../telemetry/disaggregation-names.ts";
import { REQUEST_ID_HEADER } from "../../protocol/headers.ts";
import { BodyLoan, type BodyBudget } from "../request-body.ts";
import { walk, type WalkContext } from "../walk.ts";
import type { StagedRequest } from "./connector.ts";
import {
  ENCODE_PATH,
  encodeBodies,
  mergeEncoded,
  type EncodeBodies,
  type EncodeConnectorName,
} from "./connectors/encode.ts";
import { readWhole } from "./read-answer.ts";

/** Of one request; more wait for their turn. As llm-d's coordinator has it. */
export const ENCODES_AT_ONCE_MAX = 8;
/** Of an encoder's answer: a descriptor of buffers, not what was encoded. */
export const ENCODE_ANSWER_BYTES_MAX = 1024 * 1024;

export interface EncodeContext extends WalkContext {
  readonly encodeConnector: EncodeConnectorName;
  readonly budget: BodyBudget;
  readonly registry: MetricRegistry;
}

export interface EncodeRequest extends StagedRequest {
  /** Not empty; endpoints that were discovered. */
  readonly encoders: readonly string[];
  readonly requestId: string;
  readonly timeoutMs: number;
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal;
  headers(endpoint: string): Readonly<Record<string, string>>;
}

/** Also a metric label. */
type EncodeOutcome =
  | "ok"
  | "partial"
  | "conflict"
  | "failed"
  | "busy"
  | "cancelled"
  | "no-items"
  | "too-large";

/** The body for those who read the prompt: the request's own wherever encoding came to nothing. */
export async function encodeItems(
  context: EncodeContext,
  request: EncodeRequest,
): Promise<Uint8Array> {
  const loan = new BodyLoan(context.budget);
  const { body, outcome } = await encode(context, request, loan);
  loan.release();
  context.registry.inc(DISAGGREGATION_METRIC.relayEncodesTotal, { outcome });
  return body;
}

async function encode(
  context: EncodeContext,
  request: EncodeRequest,
  loan: BodyLoan,
): Promise<{ body: Uint8Array; outcome: EncodeOutcome }> {
  const { body, signal } = request;
  const bodies = encodeBodies(request);
  if (typeof bodies === "string") return { body, outcome: bodies };
  if (!loan.tryTake(bodies.bytesHeld(ENCODES_AT_ONCE_MAX))) return { body, outcome: "busy" };
  const answers = await new FanOut(context, request, loan).run(bodies);
  if (answers === undefined) return { body, outcome: signal.aborted ? "cancelled" : "failed" };
  const merged = mergeEncoded(body, answers, context.encodeConnector);
  if (!merged.ok) return { body, outcome: "conflict" };
  return { body: merged.body, outcome: merged.missingCount > 0 ? "partial" : "ok" };
}

class FanOut {
  readonly #context: EncodeContext;
  readonly #request: EncodeRequest;
  readonly #loan: BodyLoan;
  /** Ends the others when one fails: without it, theirs are of no use. */
  readonly #failure = new AbortController();

  constructor(context: EncodeContext, request: EncodeRequest, loan: BodyLoan) {
    this.#context = context;
    this.#request = request;
    this.#loan = loan;
  }

  /** The answers' bodies in the order of `bodies`; undefined if one failed. */
  async run(bodies: EncodeBodies): Promise<Buffer[] | undefined> {
    const answers: (Buffer | undefined)[] = [];
    const timer = setTimeout(() => this.#failure.abort(), this.#request.timeoutMs);
    let next = 0;
    const work = async () => {
      while (next < bodies.count && !this.#failure.signal.aborted) {
        const index = next++;
        answers[index] = await this.#encode(bodies.make(index), index);
        if (answers[index] === undefined) this.#failure.abort();
      }
    };
    await Promise.all(Array.from({ length: ENCODES_AT_ONCE_MAX }, work));
    clearTimeout(timer);
    const whole = answers.filter((answer) => answer !== undefined);
    return whole.length === bodies.count ? whole : undefined;
  }

  /** Items go round the encoders, each to the next ones where its own cannot be had. */
  async #encode(body: Uint8Array, index: number): Promise<Buffer | undefined> {
    const { encoders, requestId, signal } = this.#request;
    const first = index % encoders.length;
    const walked = await walk(this.#context, {
      path: ENCODE_PATH,
      destinations: [...encoders.slice(first), ...encoders.slice(0, first)],
      signal: AbortSignal.any([signal, this.#failure.signal]),
      headHeldMsMax: 0,
      leg: (endpoint) => ({
        body,
        headers: {
          ...this.#request.headers(endpoint),
          [REQUEST_ID_HEADER]: `${requestId}-enc-${index}`,
        },
      }),
      onTry: () => undefined,
      onAttempt: () => undefined,
    });
    if (walked.result.kind !== "answered") return undefined;
    const { answer } = walked.result;
    if (answer.statusCode < 300) return readWhole(answer, ENCODE_ANSWER_BYTES_MAX, this.#loan);
    answer.body.on("error", () => undefined).destroy();
    return undefined;
  }
}
