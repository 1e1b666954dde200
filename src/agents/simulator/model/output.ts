// What a simulated engine answers: an echo of the prompt, or sentences of a random length.
//
//   with a limit M:    the length falls into one of six buckets, uniform inside; the last is M itself
//   without:           normal(40, 20) within [1, what the context leaves]; uniform if that is under 20
//   with ignore_eos:   M
//
// Source: llm-d-inference-sim docs/response_generation.md. There, an echo disregards the limit; here
// a limit always holds, as clients rely on it.

import type { Rng } from "../../../scheduler/support/rng.ts";
import { standardNormal } from "./timing.ts";
import { tokenize, type Token } from "./tokenizer.ts";

export type OutputMode = "echo" | "random";

export interface OutputRequest {
  readonly mode: OutputMode;
  /** What an echo repeats. */
  readonly echo: readonly Token[];
  /** The client's limit; undefined leaves the length to the engine. */
  readonly limit: number | undefined;
  /** Tokens the context has left after the prompt. At least 1. */
  readonly roomCount: number;
  /** True to generate exactly `limit` tokens. */
  readonly isEosIgnored: boolean;
}

export interface Output {
  /** At least one. */
  readonly tokens: readonly Token[];
  /** As vLLM has it: `length` when the limit ended the answer. */
  readonly finishReason: "length" | "stop";
}

const BUCKET_SHARES = [0.2, 0.3, 0.2, 0.05, 0.1, 0.15] as const;
const BUCKET_WIDTH_MAX = 20;
const WIDE_BUCKET = 3;
const LENGTH_MEAN = 40;
const LENGTH_STD_DEV = 20;
const EMPTY: Token = { id: 0, text: "" };

const SENTENCES = [
  "The tide comes in twice a day, and the harbour waits for it. ",
  "A pilot who knows the channel needs no chart at night. ",
  "Every lamp on the quay has a name and a colour. ",
  "Ships that share a berth must agree on a draught. ",
  "The wind turned west, so we sailed before noon. ",
  "Nobody remembers who built the first breakwater. ",
  "Two bells mark the hour, and one marks the fog. ",
  "Ropes are coiled with the sun; it has always been so. ",
  "The ferry leaves when the last cart is aboard. ",
  "Gulls follow the nets, and the nets follow the herring. ",
  "What the log does not say, the barnacles will. ",
].map((sentence) => tokenize(sentence));

/** Makes up an answer. The same generator gives the same answer. */
export function generateOutput(request: OutputRequest, rng: Rng): Output {
  const { mode, echo, limit } = request;
  const lengthMax = Math.min(limit ?? request.roomCount, request.roomCount);
  let tokens: Token[];
  if (request.isEosIgnored) {
    tokens = repeat(mode === "echo" && echo.length > 0 ? [echo] : SENTENCES, lengthMax, rng);
  } else if (mode === "echo") {
    tokens = echo.length === 0 ? [EMPTY] : echo.slice(0, lengthMax);
  } else {
    const isLimited = limit !== undefined;
    const length = isLimited ? limitedLength(lengthMax, rng) : freeLength(lengthMax, rng);
    tokens = repeat(SENTENCES, length, rng);
  }
  return { tokens, finishReason: tokens.length >= lengthMax ? "length" : "stop" };
}

function repeat(sources: readonly (readonly Token[])[], length: number, rng: Rng): Token[] {
  const tokens: Token[] = [];
  for (let next = Math.floor(rng() * sources.length); tokens.length < length; next++) {
    tokens.push(...sources[next % sources.length]!.slice(0, length - tokens.length));
  }
  return tokens;
}

function limitedLength(limit: number, rng: Rng): number {
  let draw = rng();
  let bucket = 0;
  while (bucket < BUCKET_SHARES.length - 1 && draw >= BUCKET_SHARES[bucket]!) {
    draw -= BUCKET_SHARES[bucket]!;
    bucket++;
  }
  if (bucket === BUCKET_SHARES.length - 1) return limit;
  const width = Math.min(limit / BUCKET_SHARES.length, BUCKET_WIDTH_MAX);
  const wideWidth = limit - width * (BUCKET_SHARES.length - 1);
  const start = bucket * width + (bucket > WIDE_BUCKET ? wideWidth - width : 0);
  const span = bucket === WIDE_BUCKET ? wideWidth : width;
  return Math.max(1, Math.min(limit, Math.ceil(start + rng() * span)));
}

function freeLength(lengthMax: number, rng: Rng): number {
  if (lengthMax < LENGTH_STD_DEV) return 1 + Math.floor(rng() * lengthMax);
  const length = Math.round(LENGTH_MEAN + LENGTH_STD_DEV * standardNormal(rng));
  return Math.max(1, Math.min(lengthMax, length));
}
