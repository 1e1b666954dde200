// A steady stream of requests, whole answers and event streams in turn, that records what a client
// saw of each.

import { setTimeout as sleep } from "node:timers/promises";
import type { Fairlead } from "./harness.ts";

/** Requests under way at once, and the pause of each client between two. */
const CLIENTS = 6;
const PAUSE_MS = 10;
/** A client that waits longer has been forgotten. */
const REQUEST_MS_MAX = 30_000;

export interface Seen {
  readonly isStream: boolean;
  /** As of performance.now(). */
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  /**
   * `ok`: a whole answer. `refused`: an error of ours before it began. `cut`: an event stream that
   * ended with an error event of ours. `broken`: the connection ended. `odd`: anything else.
   */
  readonly outcome: "ok" | "refused" | "cut" | "broken" | "odd";
  /** Our error code, or what is odd. */
  readonly detail: string;
}

export interface Load {
  readonly seen: readonly Seen[];
  /** Resolves when every client has its last answer. */
  stop(): Promise<void>;
}

export function startLoad(up: Fairlead, model = up.model): Load {
  const seen: Seen[] = [];
  const controller = new AbortController();
  const client = async (n: number) => {
    for (let i = 0; !controller.signal.aborted; i++) {
      seen.push(await ask(up, model, { isStream: (n + i) % 2 === 0, outputTokens: 60 }));
      await sleep(PAUSE_MS);
    }
  };
  const clients = Promise.all(Array.from({ length: CLIENTS }, (_, n) => client(n)));
  return {
    seen,
    async stop() {
      controller.abort();
      await clients;
    },
  };
}

export interface Asked {
  readonly isStream: boolean;
  readonly outputTokens: number;
}

/** One request and what came of it. Never rejects. */
export async function ask(up: Fairlead, model: string, asked: Asked): Promise<Seen> {
  const startedAtMs = performance.now();
  const [outcome, detail] = await answer(up, model, asked);
  return { isStream: asked.isStream, startedAtMs, endedAtMs: performance.now(), outcome, detail };
}

async function answer(
  up: Fairlead,
  model: string,
  { isStream, outputTokens }: Asked,
): Promise<[Seen["outcome"], string]> {
  const body = JSON.stringify({
    model,
    messages: [{ role: "user", content: `Tell me something new. ${Math.random()}` }],
    max_tokens: outputTokens,
    ignore_eos: true,
    stream: isStream,
  });
  let status: number;
  let text: string;
  try {
    const response = await up.fetch("/v1/chat/completions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
      signal: AbortSignal.timeout(REQUEST_MS_MAX),
    });
    ({ status } = response);
    text = await response.text();
  } catch (error) {
    const isLate = error instanceof Error && error.name === "TimeoutError";
    return isLate ? ["odd", "no answer in time"] : ["broken", String(error)];
  }
  if (status !== 200) {
    const code = ourCode(text);
    return code === undefined ? ["odd", `${status} ${text.slice(0, 200)}`] : ["refused", code];
  }
  if (isStream) {
    if (text.endsWith("data: [DONE]\n\n")) return ["ok", ""];
    const code = ourCode(text.slice(text.lastIndexOf("data: ") + "data: ".length));
    return code === undefined ? ["odd", `a stream ended: ${text.slice(-200)}`] : ["cut", code];
  }
  return text.includes('"finish_reason"') ? ["ok", ""] : ["odd", text.slice(0, 200)];
}

function ourCode(text: string): string | undefined {
  try {
    const { error } = JSON.parse(text) as { error?: { code?: unknown } };
    return typeof error?.code === "string" ? error.code : undefined;
  } catch {
    return undefined;
  }
}

/** `broken`, `cut upstream_lost` …, each with its count. */
export function tally(seen: readonly Seen[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { outcome, detail } of seen) {
    const key =
      outcome === "refused" || outcome === "cut" || outcome === "odd"
        ? `${outcome} ${detail}`
        : outcome;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}
