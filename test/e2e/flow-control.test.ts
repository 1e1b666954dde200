// A full pool with the whole stack running: who waits, who is next, and who is told that it is too much.

import OpenAI from "openai";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { queueAnswerSchema } from "../../src/cli/queue/answer.ts";
import { openClient } from "./tcp-client.ts";
import {
  type Answer,
  concurrencyScheduler,
  FlowStack,
  type Occupant,
  refusalOf,
  refused,
  schedulerOf,
  simState,
  WAIT_MS,
} from "./flow-stack.ts";

/** Requests in an engine's own queue from which it counts as full. */
const QUEUE_DEPTH = 2;
const REQUESTS = 10;

let stack: FlowStack;
beforeAll(async () => {
  stack = await FlowStack.start(2);
});
afterAll(() => stack?.[Symbol.asyncDispose]());

const batch = { headers: { "x-llm-d-inference-objective": "batch" } };
const bulk = { headers: { "x-llm-d-inference-objective": "bulk" } };
const shortly = { headers: { "x-llm-d-inference-ttl": "300ms" } };

async function metrics(): Promise<string> {
  const headers = { authorization: `Bearer ${stack.up.adminKey}` };
  return (await stack.up.fetch("/metrics/pools/local", { headers })).text();
}

async function waitingInEngines(): Promise<number> {
  const states = await Promise.all(stack.engines.map(simState));
  return states.reduce((sum, { waiting }) => sum + waiting, 0);
}

const statuses = (answers: readonly Answer[]) => answers.map(({ status }) => status);

it("lets requests wait outside of engines that are full, and answers all", async () => {
  const parameters = { queueDepthThreshold: QUEUE_DEPTH };
  await stack.configure(schedulerOf({ type: "utilization-detector", parameters }));
  const occupants = await Promise.all(Array.from({ length: 4 }, () => stack.occupy()));
  const inEnginesMax = stack.engines.length * QUEUE_DEPTH;
  const asked: Promise<Answer>[] = [];
  for (let i = 1; i <= REQUESTS; i++) {
    asked.push(stack.ask());
    await stack.until(`${i} requests wait, here or there`, async () => {
      const { waiting } = await stack.queue();
      return waiting.requests + (await waitingInEngines()) === i;
    });
    // On a busy machine it may have taken longer to get there than the object expects.
    await stack.untilSampled();
  }
  // The detector takes the mean of both engines. A request counts twice until a sample shows it.
  await stack.until("the engines are full", async () => {
    return (await waitingInEngines()) === inEnginesMax;
  });
  const { code, stdout } = await stack.cli("queue", "local", "--once", "--json");
  expect(code).toBe(0);
  const { queue } = queueAnswerSchema.parse(JSON.parse(stdout));
  expect(queue!.saturation).toBeGreaterThanOrEqual(1);
  expect(queue!.waiting.requests).toBe(REQUESTS - inEnginesMax);
  const { fairnessId, waiting } = queue!.bands.find(({ priority }) => priority === 0)!.flows[0]!;
  expect({ fairnessId, waiting }).toEqual({
    fairnessId: "default",
    waiting: queue!.waiting.requests,
  });
  const queueSize = `llm_d_epp_flow_control_queue_size{fairness_id="default",priority="0",inference_pool="local"}`;
  expect(await metrics()).toContain(`\n${queueSize} ${waiting}\n`);

  await Promise.all(occupants.map((each) => each.release()));
  const answers = await Promise.all(asked);
  await stack.untilIdle();
  expect(statuses(answers)).toEqual(answers.map(() => 200));
  const waited = answers.filter(({ headers }) => headers.has("x-fairlead-queue-ms"));
  expect(waited.length).toBeGreaterThanOrEqual(REQUESTS - inEnginesMax);
  const text = await metrics();
  expect(text).toMatch(/^llm_d_epp_flow_control_pool_saturation\{.*\} /m);
  expect(text).toMatch(
    /^llm_d_epp_flow_control_requests_total\{outcome="Dispatched",priority="0",inference_pool="local"\} 14$/m,
  );
});

describe("a pool with one place that is free now and then", () => {
  let held: Occupant;
  let door: Occupant;
  beforeAll(async () => {
    await stack.configure(
      concurrencyScheduler(1, {
        maxRequests: 8,
        priorityBands: [{ priority: -2, maxRequests: 2, maxBytes: 20_000 }],
      }),
    );
    held = await stack.occupy({ as: "vip" });
  });
  afterAll(() => held?.release());

  /** Takes the last place. Nobody is let through until it is released. */
  const close = async () => (door = await stack.occupy({ as: "vip" }));
  const open = () => door.release();
  // A test that fails must not keep the next one waiting.
  afterEach(async () => {
    await open();
    await stack.untilWaiting(0);
  });

  it("serves a higher priority first, and nobody's header makes one", async () => {
    await close();
    const { answers } = await stack.enqueue([
      batch,
      { headers: { "x-llm-d-inference-objective": "urgent" } },
      { as: "vip" },
      { as: "vip", ...batch },
      { as: "vip", headers: { "x-gateway-inference-objective": "urgent" } },
    ]);
    const { bands } = await stack.queue();
    const waiting = bands.map(({ priority, waiting }) => [priority, waiting.requests]);
    expect(waiting.filter(([, requests]) => requests !== 0)).toEqual([
      [10, 1],
      [5, 1],
      [0, 1],
      [-1, 2],
    ]);
    await open();
    const served = await Promise.all(answers);
    expect(statuses(served)).toEqual(served.map(() => 200));
    // Within a band both flows are served as little; who has waited longer is first.
    expect(await stack.orderOf(served)).toEqual([2, 4, 1, 0, 3]);
  });

  it("lets a tenant with one request not wait for one with many", async () => {
    await close();
    const gateway = (user: string) => ({
      as: "gateway" as const,
      headers: { "x-llm-d-inference-fairness-id": user },
    });
    const { answers } = await stack.enqueue([
      ...Array.from({ length: 5 }, () => gateway("many")),
      gateway("one"),
      // Believed from nobody else.
      { as: "light", headers: { "x-llm-d-inference-fairness-id": "one" } },
    ]);
    const { bands } = await stack.queue();
    const flows = bands.find(({ priority }) => priority === 0)!.flows;
    const waiting = flows.filter((flow) => flow.waiting > 0);
    expect(waiting.map((flow) => [flow.fairnessId, flow.waiting])).toEqual([
      ["many", 5],
      ["one", 1],
      ["light", 1],
    ]);
    await open();
    const order = await stack.orderOf(await Promise.all(answers));
    expect(new Set(order.slice(0, 3))).toEqual(new Set([0, 5, 6]));
    expect(order.slice(3)).toEqual([1, 2, 3, 4]);
  });

  it("serves tenants by their weights", async () => {
    await close();
    const { answers } = await stack.enqueue(
      Array.from({ length: 8 }, (_, i) => ({ as: i < 4 ? "heavy" : "light" })),
    );
    await open();
    const order = await stack.orderOf(await Promise.all(answers));
    const heavy = order.slice(0, 6).filter((index) => index < 4);
    expect(heavy).toHaveLength(4);
  });

  it("tells who waited in vain when to come again", async () => {
    await close();
    expect(refusalOf(await stack.ask(shortly))).toEqual(refused(429, "rejected-ttl-expired"));
    await stack.untilWaiting(0);
    await open();
  });

  it("refuses what the queue has no room for, and makes some for a higher priority", async () => {
    await close();
    const first = await stack.enqueue([bulk, bulk]);
    expect(refusalOf(await stack.ask(bulk))).toEqual(refused(429, "rejected-saturated"));
    const second = await stack.enqueue(
      Array.from({ length: 6 }, () => ({})),
      2,
    );
    // Eight wait. The newest of the lowest band goes for one of a higher.
    const urgent = stack.ask({ as: "vip" });
    expect(refusalOf(await first.answers[1]!)).toEqual(refused(429, "evicted-queue-pressure"));
    await open();
    const served = await Promise.all([urgent, first.answers[0]!, ...second.answers]);
    expect(statuses(served)).toEqual(served.map(() => 200));
    expect(await stack.orderOf(served)).toEqual([0, 2, 3, 4, 5, 6, 7, 1]);
  });

  it("is tried again by the OpenAI client, unless that is of no use", async () => {
    await close();
    const seen: (string | null)[] = [];
    const client = new OpenAI({
      baseURL: `${stack.up.url}/v1`,
      apiKey: stack.up.key,
      maxRetries: 2,
      async fetch(url, init) {
        const response = await fetch(url, init);
        seen.push(response.headers.get("x-llm-d-request-dropped-reason"));
        if (seen.length === 1) void open();
        return response;
      },
    });
    const create = (content: string, headers: Record<string, string>) => {
      const messages = [{ role: "user" as const, content }];
      return client.chat.completions.create(
        { model: stack.up.model, messages, max_tokens: 1 },
        { headers },
      );
    };
    const answer = await create("Tell me.", shortly.headers);
    expect(answer.choices).toHaveLength(1);
    expect(seen).toEqual(["rejected-ttl-expired", null]);

    await close();
    seen.length = 1;
    const tooLarge = await create("x".repeat(30_000), bulk.headers).catch((error) => error);
    expect(tooLarge).toBeInstanceOf(OpenAI.RateLimitError);
    expect(tooLarge.code).toBe("pool_saturated");
    expect(seen.slice(1)).toEqual(["rejected-saturated"]);
    await open();
  });

  it.for([
    { how: "FIN", isStream: true },
    { how: "FIN", isStream: false },
    { how: "RST", isStream: true },
    { how: "RST", isStream: false },
  ] as const)("forgets a client that leaves by $how, streaming: $isStream", async (client) => {
    await close();
    const before = (await stack.sent()).length;
    const { how, isStream } = client;
    const leaving = openClient(stack.up, { isStream });
    await stack.untilWaiting(1);
    leaving.leave(how);
    // Nothing is made free meanwhile: it is gone because it left.
    await stack.untilWaiting(0);
    await open();
    const { status } = await stack.ask();
    expect(status).toBe(200);
    expect(await stack.sent()).toHaveLength(before + 1);
    expect(leaving.received()).toBe("");
  });

  it("has nothing under way when all have gone", async () => {
    await held.release();
    await stack.untilIdle(WAIT_MS);
    const { bands } = await stack.queue();
    for (const { waiting } of bands) expect(waiting).toEqual({ requests: 0, bytes: 0, tokens: 0 });
  });
});
