// What the Worker and the objects of the release before said to each other still fits this one.

import { reset } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import type { PickGrant, PickRefusal, PickRequest } from "../../src/durable/contract.ts";
import recorded from "../fixtures/protocol-v1.json" with { type: "json" };
import { schedulerConfigSchema } from "../../src/scheduler/config/schema.ts";
import { endpoint, POOL, poolStub, poolWithEndpoints, until } from "./pool-client.ts";

const { worker } = recorded;

/** The recorded request, as structured cloning delivers it. */
const PICK: PickRequest = {
  ...worker.pickRequest,
  request: {
    ...worker.pickRequest.request,
    keys: Uint32Array.from(worker.pickRequest.request.keys),
  },
};
// The compiler's part: answers of the release before are answers of this one.
const ANSWERS: readonly (PickGrant | Omit<PickRefusal, "reason">)[] = [
  { ...worker.grant, ok: true },
  ...worker.refusals.map((refusal) => ({ ...refusal, ok: false as const })),
];

/** Paths that were there before and are not, or are of another type now. A null may become anything. */
function broken(before: unknown, now: unknown, path = ""): string[] {
  if (before === null) return now === undefined ? [path] : [];
  if (typeof before !== typeof now || Array.isArray(before) !== Array.isArray(now)) return [path];
  if (typeof before !== "object" || now === null) return now === null ? [path] : [];
  if (Array.isArray(before)) {
    return before.length === 0 ? [] : broken(before[0], (now as unknown[])[0], `${path}[]`);
  }
  return Object.entries(before).flatMap(([key, value]) =>
    broken(value, (now as Record<string, unknown>)[key], `${path}.${key}`),
  );
}

const BASELINE = schedulerConfigSchema.parse({
  plugins: [
    { type: "ejection-filter" },
    { type: "metrics-freshness-filter" },
    ...["queue", "kv-cache-utilization", "prefix-cache", "no-hit-lru"].map((name) => ({
      type: `${name}-scorer`,
    })),
    { type: "max-score-picker", parameters: { maxNumOfEndpoints: 4 } },
  ],
});

afterEach(() => reset());

describe("a Worker of the release before", () => {
  it("has its request understood, and finds in the answers what it reads", async () => {
    await poolWithEndpoints(2);
    // Scores stand by the names of scorers: those of the release before.
    await poolStub().configure({ name: POOL, scrapeIntervalMs: 200, scheduler: BASELINE }, 2);
    using grant = await poolStub().pick(PICK);
    expect(broken(worker.grant, { ...grant })).toEqual([]);
    expect(new Set(grant.ok === true ? grant.endpoints : [])).toEqual(
      new Set([endpoint(1).address, endpoint(2).address]),
    );
    const { requestId } = PICK.request;
    await until(async () => (await env.POOLS.explain(POOL, requestId)).explanation);
    const now = await env.POOLS.explain(POOL, requestId);
    const { attempts } = worker.explanation.explanation;
    // How it went is known only once a relay has told.
    const unreported = attempts.map((attempt) => ({ ...attempt, result: null }));
    const before = {
      ...worker.explanation,
      explanation: { ...worker.explanation.explanation, attempts: unreported },
    };
    expect(broken(before, now)).toEqual([]);
    expect(broken({ ...worker.state, agents: [] }, await env.POOLS.state(POOL))).toEqual([]);
  });

  it("is refused in the words it knows", async () => {
    const refusal = await poolStub().pick(PICK);
    for (const before of worker.refusals) expect(broken(before, { ...refusal })).toEqual([]);
  });
});

describe("an object of the release before", () => {
  it("grants and refuses in words that this Worker knows", () => {
    expect(ANSWERS.map(({ ok }) => ok)).toEqual([true, false, false]);
    for (const { reason } of worker.refusals) expect(reason).toMatch(/^rejected-[a-z-]+$/);
  });
});

it("tells what is broken", () => {
  expect(broken({ a: 1, b: { c: "" }, d: [{ e: true }] }, { a: "1", b: {}, d: [{}] })).toEqual([
    ".a",
    ".b.c",
    ".d[].e",
  ]);
  expect(broken({ a: null, b: [] }, { a: 3, b: [1], c: 2 })).toEqual([]);
});
