// An engine killed under many streams through the whole stack. What had begun is cut off and says so;
// everything else is answered by another engine, and nothing stays counted.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PoolState } from "../../src/durable/state.ts";
import { eventually, startEngines, startFairlead, type Engines, type Fairlead } from "./harness.ts";
import { contentsOf, eventsOf } from "../support/event-stream.ts";

const STREAMS = 200;
const TOKENS = 20;
const ENGINES = 3;

let engines: Engines[] = [];
let up: Fairlead;
beforeAll(async () => {
  const start = () => startEngines(1, "--max-num-seqs", "32", "--inter-token-latency", "1500ms");
  engines = await Promise.all(Array.from({ length: ENGINES }, start));
  up = await startFairlead(...engines.flatMap(({ origins }) => ["--endpoint", origins[0]!]));
});
afterAll(async () => {
  await up?.[Symbol.asyncDispose]();
  for (const { child } of engines) child.kill("SIGKILL");
});

/** One stream as its client saw it. */
interface Stream {
  text: string;
  requestId: string;
  status: number;
  isEnded: boolean;
}

function open(index: number): { stream: Stream; ended: Promise<void> } {
  const stream: Stream = { text: "", requestId: "", status: 0, isEnded: false };
  const read = async () => {
    const response = await up.fetch("/v1/chat/completions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        model: up.model,
        stream: true,
        max_tokens: TOKENS,
        ignore_eos: true,
        messages: [{ role: "user", content: `Story number ${index}, please.` }],
      }),
    });
    stream.status = response.status;
    stream.requestId = response.headers.get("x-fairlead-request-id") ?? "";
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      stream.text += chunk;
    }
    stream.isEnded = true;
  };
  return { stream, ended: read() };
}

async function simState(engine: Engines): Promise<{ running: number; waiting: number }> {
  const response = await fetch(`${engine.origins[0]}/sim/state`);
  return (await response.json()) as { running: number; waiting: number };
}

describe("an engine killed under 200 streams", { timeout: 120_000 }, () => {
  it("costs only the streams that had begun, and each of those is told", async () => {
    const opened = Array.from({ length: STREAMS }, (_, i) => open(i));
    const [victim] = engines as [Engines, ...Engines[]];
    await eventually(
      "some of the victim's requests run and some wait, and streams have begun",
      async () => {
        const { running, waiting } = await simState(victim);
        const begun = opened.filter(({ stream }) => stream.text !== "" && !stream.isEnded);
        return running > 3 && waiting > 3 && begun.length > STREAMS / 10 ? true : undefined;
      },
      30_000,
    );
    victim.child.kill("SIGKILL");
    await Promise.all(opened.map(({ ended }) => ended));

    const streams = opened.map(({ stream }) => stream);
    expect(streams.filter(({ status }) => status !== 200)).toEqual([]);
    const cut = streams.filter(({ text }) => text.includes('"error"'));
    for (const stream of streams) {
      if (cut.includes(stream)) continue;
      expect(contentsOf(stream).length).toBe(TOKENS);
      expect(stream.text.endsWith("data: [DONE]\n\n")).toBe(true);
    }
    expect(cut.length).toBeGreaterThan(0);
    expect(cut.length).toBeLessThanOrEqual(32);
    for (const stream of cut) {
      expect(contentsOf(stream).length).toBeGreaterThan(0);
      expect(eventsOf(stream).at(-1)!.error).toMatchObject({
        code: "engine_lost",
        request_id: stream.requestId,
      });
      expect(stream.text).not.toContain("[DONE]");
    }

    await eventually("nothing is counted any more", async () => {
      const { tickets, endpoints } = (await up.admin("/pools/local")) as PoolState;
      const isIdle =
        tickets.open === 0 &&
        tickets.unsettled === 0 &&
        endpoints.every((each) => each.inFlightRequests === 0 && each.inFlightTokens === 0);
      return isIdle ? true : undefined;
    });
    const relayMetrics = await up.metricsOf("relay-local");
    expect(relayMetrics).toMatch(/^fairlead_relay_open_streams 0$/m);
    expect(relayMetrics).not.toMatch(/^fairlead_relay_retries_denied_total [1-9]/m);
    for (const engine of engines.slice(1)) {
      expect(await simState(engine)).toMatchObject({ running: 0, waiting: 0 });
    }
  });
});
