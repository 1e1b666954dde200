// Requests that the Worker sends at once and asks the pool's object about: in front of a distant object, with load at
// the engines that the Worker hears of late.

import { afterAll, beforeAll, expect, it } from "vitest";
import type { DecisionPage } from "../../src/durable/state.ts";
import { explanationSchema } from "../../src/scheduler/decisions/document.ts";
import { eventually, fairlead, type Fairlead, startFairlead } from "./harness.ts";

/** There and back, to the object. */
const RTT_MS = 60;
const ENGINES = 4;
const CLIENTS = 8;
/** At one engine at once, by somebody else: more than it takes. */
const BURST = 40;
/** A prompt of some thousand tokens. */
const LONG = "What else is there to be said about it? ".repeat(400);

let up: Fairlead;
beforeAll(async () => {
  const engines = ["--engines", String(ENGINES), "--engine-arg", "max-num-seqs=4"];
  const object = ["--decide", "auto", "--object-rtt-ms", String(RTT_MS)];
  up = await startFairlead(...object, ...engines, "--time-scale", "0.3");
});
afterAll(() => up?.[Symbol.asyncDispose]());

/** Answers to what was asked of objects meanwhile. */
async function outcomes(): Promise<ReadonlyMap<string, number>> {
  const response = await fetch(`${up.url}/metrics`, {
    headers: { authorization: `Bearer ${up.adminKey}` },
  });
  const text = await response.text();
  const lines = text.matchAll(/^fairlead_edge_asked_meanwhile_total\{.*outcome="(.+?)"\} (\d+)$/gm);
  return new Map([...lines].map(([, outcome, count]) => [outcome!, Number(count)]));
}

/** Until `isOver`. Requests in the pool's order; bursts at one engine after the other. */
async function underLoad(isOver: () => boolean): Promise<void> {
  const client = async (n: number) => {
    for (let i = 0; !isOver(); i++) {
      const content = `${n}.${i}: ${LONG}`;
      const { model } = up;
      const asked = { model, max_tokens: 4, messages: [{ role: "user" as const, content }] };
      if (i % 2 === 0) await up.client.chat.completions.create(asked);
      else
        for await (const _ of await up.client.chat.completions.create({ ...asked, stream: true }));
    }
  };
  const others = async () => {
    const engines = up.engines();
    for (let i = 0; !isOver(); i++) {
      const body = { model: up.model, max_tokens: 16, prompt: `${i} ${LONG}` };
      const url = `${engines[i % engines.length]}/v1/completions`;
      const headers = { "content-type": "application/json" };
      const init = { method: "POST", headers, body: JSON.stringify(body) };
      await Promise.all(Array.from({ length: BURST }, async () => (await fetch(url, init)).text()));
    }
  };
  await Promise.all([...Array.from({ length: CLIENTS }, (_, n) => client(n)), others()]);
}

/** A request that was sent where it was not kept, and has ended. */
async function calledOff() {
  const { decisions } = (await up.admin("/pools/local/decisions?limit=256")) as DecisionPage;
  for (const { requestId, attempt } of decisions) {
    if (attempt.decided?.reason !== "asked-meanwhile") continue;
    const run = await fairlead(["explain", requestId, "--json", "--state-dir", up.stateDir]);
    if (run.code !== 0) continue;
    const { attempts } = explanationSchema.parse(JSON.parse(run.stdout));
    // The other one has failed nowhere before: it is what the object would rather have.
    const isMoved = attempts[1]?.decided?.reason === "stale";
    if (isMoved && attempts.every(({ result }) => result !== null)) return { requestId, attempts };
  }
  return undefined;
}

it("stay where they are well, and are sent to another engine where they are not", async () => {
  let isOver = false;
  const load = underLoad(() => isOver);
  try {
    await eventually("some are kept, and some are called off", async () => {
      const found = await outcomes();
      return (found.get("kept") ?? 0) > 0 && (found.get("called-off") ?? 0) > 0 ? true : undefined;
    });
  } finally {
    isOver = true;
    await load;
  }
  const { requestId, attempts } = await eventually("one has ended", calledOff);
  const [first, second] = attempts;
  expect(first!.decided).toMatchObject({ where: "local", reason: "asked-meanwhile" });
  expect(first!.result!.outcome).toBe("cancelled");
  expect(second!.decided).toMatchObject({ where: "consult", reason: "stale" });
  expect(second!.result!.outcome).toBe("ok");
  expect(second!.chosen[0]).not.toBe(first!.chosen[0]);
  const { stdout } = await fairlead(["explain", requestId, "--state-dir", up.stateDir]);
  expect(stdout).toContain("it was sent at once, and asked about on its way");
}, 60_000);
