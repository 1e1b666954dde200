// One request, and what its client saw of it.

import type { Dispatcher, Pool } from "undici";
import { z } from "zod";
import {
  FAIRLEAD_ATTEMPTS_HEADER,
  FAIRLEAD_ENDPOINT_HEADER,
} from "../../agents/protocol/headers.ts";
import type { Seen } from "./account.ts";

/** A client that waits longer has been forgotten. */
const ANSWER_MS_MAX = 60_000;
const STREAM_TOKENS = 32;
const JSON_TOKENS = 8;
/** The end of an answer, which says how it ended. */
const TAIL_CHARS = 4_096;
const DONE = "data: [DONE]\n\n";

const errorSchema = z.object({ error: z.object({ code: z.string().nullable().optional() }) });

export interface Front {
  readonly pool: Pool;
  readonly key: string;
  readonly model: string;
  readonly clusterOf: ReadonlyMap<string, string>;
  readonly nowMs: () => number;
}

interface Asked {
  /** Makes prompts differ. */
  readonly number: number;
  readonly isStream: boolean;
  readonly startedMs: number;
}

/** Never rejects. */
export async function ask(front: Front, asked: Asked): Promise<Seen> {
  const { isStream, startedMs } = asked;
  const base = { isStream, startedMs };
  const nothing = { firstByteMs: null, cluster: null, attempts: 0, outcome: "failed" } as const;
  let answer: Dispatcher.ResponseData;
  try {
    answer = await send(front, asked);
  } catch (error) {
    return { ...base, ...nothing, endedMs: front.nowMs(), code: codeOf(error) };
  }
  const endpoint = header(answer, FAIRLEAD_ENDPOINT_HEADER);
  const facts = {
    ...base,
    cluster: front.clusterOf.get(endpoint) ?? null,
    attempts: Number(header(answer, FAIRLEAD_ATTEMPTS_HEADER)) || 0,
  };
  let firstByteMs: number | null = null;
  let tail = "";
  try {
    for await (const chunk of answer.body.setEncoding("utf8")) {
      firstByteMs ??= front.nowMs();
      tail = (tail + String(chunk)).slice(-TAIL_CHARS);
    }
  } catch (error) {
    const endedMs = front.nowMs();
    const outcome = firstByteMs === null ? "failed" : "ended";
    return { ...facts, firstByteMs, endedMs, outcome, code: codeOf(error) };
  }
  const end = { ...facts, firstByteMs, endedMs: front.nowMs() };
  if (answer.statusCode !== 200) {
    const code = errorCode(tail) ?? `status_${answer.statusCode}`;
    return { ...end, firstByteMs: null, outcome: "failed", code };
  }
  const isWhole = isStream ? tail.endsWith(DONE) : tail.includes('"finish_reason"');
  if (isWhole) return { ...end, outcome: "ok", code: "" };
  const last = tail.slice(tail.lastIndexOf("data: ") + "data: ".length);
  return { ...end, outcome: "ended", code: errorCode(isStream ? last : tail) ?? "cut_short" };
}

function send({ pool, key, model }: Front, asked: Asked): Promise<Dispatcher.ResponseData> {
  const { number, isStream } = asked;
  const content = `Request ${number} of this trial: name a port and what one ships from it.`;
  return pool.request({
    path: "/v1/chat/completions",
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({
      model,
      messages: [{ role: "user", content }],
      max_tokens: isStream ? STREAM_TOKENS : JSON_TOKENS,
      ignore_eos: true,
      stream: isStream,
    }),
    signal: AbortSignal.timeout(ANSWER_MS_MAX),
  });
}

function header({ headers }: Dispatcher.ResponseData, name: string): string {
  const value = headers[name];
  return typeof value === "string" ? value : "";
}

/** The network's, e.g. ECONNRESET. */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  if (error.name === "TimeoutError") return "no_answer_in_time";
  return (error as NodeJS.ErrnoException).code ?? error.name;
}

function errorCode(text: string): string | undefined {
  try {
    return errorSchema.parse(JSON.parse(text)).error.code ?? undefined;
  } catch {
    // Not an error of ours, or not whole.
    return undefined;
  }
}
