// Requests that an isolate sends at once and asks the pool's object about: which, what they cost, and where they
// count.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { HeldGrant, PickRequest } from "../../../src/durable/contract.ts";
import { SNAPSHOT_SERVES_MS } from "../../../src/scheduler/edge/consult-rule.ts";
import type { EdgeSnapshot, LocalEnd } from "../../../src/scheduler/edge/contracts.ts";
import { PoolReplica } from "../../../src/scheduler/edge/pool-replica.ts";
import { EdgePool } from "../../../src/worker/edge/edge-pool.ts";
import type { PendingCommit } from "../../../src/worker/edge/outbox.ts";
import { SentMeanwhile, type SentOptions } from "../../../src/worker/edge/sent-meanwhile.ts";
import {
  type Grant,
  type PickContext,
  pickEndpoints,
} from "../../../src/worker/upstream/pool-picks.ts";
import { PoolView } from "../../../src/worker/upstream/pool-view.ts";
import {
  ADDRESSES,
  edgePool,
  edgeSnapshot,
  fails,
  hangs,
  keeps,
  pickContext,
  PICK,
  ScriptedObject,
} from "../support/scripted-object.ts";

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

const RTT_MS = 40;
/** No block of it is cached anywhere. */
const REQUEST = { ...PICK.request, keys: new Uint32Array(0) };
const CREDIT = { scope: "pool/eu-1", epoch: "c", seq: 1, limit: 3, ttlMs: 5_000 };
/** So much comes by other isolates that a snapshot of some age misses a load. */
const RATE = { requestsPerS: 2_000, promptTokens: 4_000, uncachedTokens: 4_000, kvTokens: 4_000 };
const AGE_MS = 120;

interface Setting {
  readonly config?: object;
  readonly roles?: readonly string[];
  readonly rate?: object;
  readonly limit?: number;
  readonly ageMs?: number;
}

/** An isolate whose replica is of some age, in a pool to which others send much. */
async function isolate({
  config = {},
  roles,
  rate = RATE,
  limit = CREDIT.limit,
  ...at
}: Setting = {}) {
  const addresses = roles === undefined ? ADDRESSES : [...ADDRESSES, "10.0.0.3:8000"];
  const object = new ScriptedObject();
  const view = new PoolView();
  const edge = new EdgePool({ address: "eu-1", pool: edgePool(config), view, seed: 1 });
  const digest = { version: "d", added: new Uint32Array(0) };
  const snapshot = (): EdgeSnapshot => ({
    ...edgeSnapshot(addresses, {}, roles),
    digest,
    rate: rate as typeof RATE,
  });
  const credit = { ...CREDIT, limit };
  edge.link.measured(RTT_MS, Date.now());
  edge.granted(
    object.grant({ edge: snapshot(), credit }),
    { ...PICK, request: REQUEST },
    Date.now(),
  );
  await vi.advanceTimersByTimeAsync(at.ageMs ?? AGE_MS);
  const held: Promise<void>[] = [];
  const context = pickContext(object, { edge, view, hold: (work) => void held.push(work) });
  const pick = (attempt = 1, how: Partial<PickContext> = {}, more: Partial<PickRequest> = {}) =>
    pickEndpoints({ ...PICK, request: REQUEST, attempt, ...more }, { ...context, ...how });
  return { object, edge, pick, snapshot, held, view };
}

async function reasonOf(setting: Setting, how: Partial<PickContext> = {}) {
  const { object, pick } = await isolate(setting);
  object.goOn(object.grants);
  const picked = await pick(1, how);
  return picked.ok ? `${picked.terms.where} ${picked.terms.reason}` : picked.reason;
}

const UPSTREAMS = {
  relays: [],
  upstreams: [{ name: "one", kind: "openai", url: "https://one.example/v1" }],
};
const AFFINE = {
  scheduler: {
    plugins: [{ type: "lora-affinity-scorer" }, { type: "latency-cost-scorer" }],
    schedulingProfiles: [
      {
        name: "default",
        plugins: [{ pluginRef: "lora-affinity-scorer" }, { pluginRef: "latency-cost-scorer" }],
      },
    ],
  },
};
const SPLIT = {
  scheduler: {
    plugins: [
      {
        type: "disagg-profile-handler",
        parameters: { deciders: { prefill: "always-disagg-pd-decider" } },
      },
      { type: "always-disagg-pd-decider" },
      { type: "prefill-filter" },
      { type: "decode-filter" },
      { type: "latency-cost-scorer" },
    ],
    schedulingProfiles: ["prefill", "decode"].map((name) => ({
      name,
      plugins: [{ pluginRef: `${name}-filter` }, { pluginRef: "latency-cost-scorer" }],
    })),
  },
};

describe("a request is sent meanwhile", () => {
  it("where only the age of loads speaks against it", async () => {
    const { object, pick } = await isolate();
    object.goOn(hangs);
    const sent = await pick();
    expect(sent).toMatchObject({
      isLocal: true,
      terms: { where: "local", reason: "asked-meanwhile" },
      meanwhile: { attempt: 7 },
    });
    const { endpoints } = sent as Grant;
    expect(new Set(endpoints)).toEqual(new Set(ADDRESSES));
    expect(object.calls).toMatchObject([
      { attempt: 7, sent: { attempt: 1, endpoints, decidedAgoMs: 0 } },
    ]);
    expect(object.calls[0]!.terms).toMatch(/^consult stale /);
    // Nobody waits for it.
    for (const field of ["proposed", "flow", "choice"])
      expect(object.calls[0]).not.toHaveProperty(field);
  });

  it.for<[string, Setting, Partial<PickContext>]>([
    ["local nothing-to-gain", { rate: { ...RATE, requestsPerS: 0 } }, {}],
    ["local forced-local", { config: { decide: "local" } }, {}],
    ["consult forced-consult", { config: { decide: "consult" } }, {}],
    ["consult stale", { ageMs: SNAPSHOT_SERVES_MS + 1 }, {}],
    ["consult no-credit", { limit: 0 }, {}],
    ["consult stale", { config: AFFINE }, {}],
    ["consult stale", { config: SPLIT, roles: ["decode", "prefill", "prefill"] }, {}],
    ["consult not-local", { config: UPSTREAMS }, {}],
    ["consult not-local", {}, { isConsulted: true }],
    ["consult not-local", {}, { needsObject: true }],
  ])("and not, but decided as before: %s of %o, %o", async ([expected, setting, how]) => {
    expect(await reasonOf(setting, how)).toBe(expected);
  });

  it("for a credit each, and is proposed where there is none", async () => {
    const { object, edge, pick } = await isolate({ limit: 2 });
    object.goOn(hangs, hangs, object.grants);
    for (const attempt of [1, 2]) {
      const sent = await pick(attempt);
      expect(sent).toMatchObject({ terms: { reason: "asked-meanwhile" } });
      expect(edge.link.credit.spent).toBe(attempt);
    }
    await pick(3);
    expect(object.calls.map(({ terms }) => terms?.split(" ")[1])).toEqual([
      "stale",
      "stale",
      "no-credit",
    ]);
    expect(edge.link.credit.spent).toBe(2);
  });

  it("is not spent twice where the object has it elsewhere", async () => {
    const { object, edge, pick } = await isolate();
    object.goOn(async () => object.grant({ callsOff: true }));
    const sent = await pick();
    await (sent.ok ? sent.meanwhile!.rather : undefined);
    expect(edge.link.credit.spent).toBe(1);
  });
});

describe("credit that the object is told of", () => {
  const spentOf = (object: ScriptedObject) => object.calls.map(({ credit }) => credit?.spent);

  it("is what it knows of: not what is asked about by other calls, which may come later", async () => {
    const { object, pick } = await isolate({ limit: 9 });
    const answers = [1, 2, 3].map(() => Promise.withResolvers<HeldGrant>());
    object.goOn(
      ...answers.map(
        ({ promise }) =>
          () =>
            promise,
      ),
      hangs,
    );
    const sent = [await pick(1), await pick(2), await pick(3)];
    expect(spentOf(object)).toEqual([1, 1, 1]);
    await vi.advanceTimersByTimeAsync(RTT_MS);
    const { edge: _, ...grant } = object.grant({ callsOff: true });
    answers[0]!.resolve(grant);
    answers[1]!.resolve({ ok: "kept" } as never);
    for (const each of sent.slice(0, 2)) if (each.ok) await each.meanwhile!.rather;
    await pick(4);
    expect(spentOf(object)).toEqual([1, 1, 1, 3]);
  });

  it("is not what syncs pass by on their way either", async () => {
    const { object, pick, snapshot } = await isolate({ limit: 9 });
    object.syncAnswer = async () => ({ snapshot: snapshot() });
    object.goOn(hangs, fails());
    await pick(1);
    const second = await pick(2);
    await (second.ok ? second.meanwhile!.rather : null);
    await vi.advanceTimersByTimeAsync(100);
    expect(object.syncs).toMatchObject([{ commits: [{ attempt: 2 }], credit: { spent: 1 } }]);
  });
});

describe("what the object makes of it", () => {
  it("kept: nothing is told again", async () => {
    const { object, pick } = await isolate();
    object.goOn(keeps());
    const sent = await pick();
    expect(await (sent.ok ? sent.meanwhile!.rather : "nothing")).toBeUndefined();
    await vi.advanceTimersByTimeAsync(200);
    expect(object.syncs.flatMap(({ commits }) => commits)).toEqual([]);
  });

  it.for([
    { name: "does not answer", answer: fails() },
    { name: "is too slow", answer: hangs },
    {
      name: "is of the release before",
      answer: async () => new ScriptedObject().grant(),
    },
    {
      name: "refuses",
      answer: async () =>
        ({ ok: false, reason: "rejected-saturated", detail: "", retryAfterMs: 1 }) as const,
    },
    {
      name: "takes no requests any more",
      answer: async () => ({ ok: "moved", shards: { version: 1, count: 2, splits: [] } }) as never,
    },
  ])("told with the next call, where it $name", async ({ answer }) => {
    const { object, pick, snapshot } = await isolate();
    object.syncAnswer = async () => ({ snapshot: snapshot() });
    object.goOn(answer, keeps());
    const sent = await pick();
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await (sent.ok ? sent.meanwhile!.rather : "nothing")).toBeUndefined();
    const told = object.syncs.flatMap(({ commits }) => commits);
    expect(told).toMatchObject([{ attempt: 1, ticket: sent.ok ? sent.ticket : "" }]);
    expect(told[0]!.decidedAgoMs).toBeLessThanOrEqual(2_000);
  });
});

describe("an object that does not answer", () => {
  it.for([
    { hasQueue: false, isAway: true },
    { hasQueue: true, isAway: false },
  ])(
    "is taken for away: $isAway, where requests may wait: $hasQueue",
    async ({ hasQueue, isAway }) => {
      const { object, pick, view } = await isolate();
      object.goOn(hangs);
      const sent = await pick(1, { hasQueue });
      await vi.advanceTimersByTimeAsync(2_000);
      expect(await (sent.ok ? sent.meanwhile!.rather : "nothing")).toBeUndefined();
      expect(view.isAway(Date.now())).toBe(isAway);
    },
  );
});

/** One that is sent to the first of two endpoints, as the isolate counts it. */
function sentTo(addresses: readonly string[] = ADDRESSES) {
  const replica = new PoolReplica({ seed: 1 });
  const nowMs = Date.now();
  const show = (shown: number, snapshot = edgeSnapshot(addresses)) =>
    replica.apply(snapshot, { asOfMs: nowMs, nowMs, shown });
  show(0);
  const commits: PendingCommit[] = [];
  const ends: LocalEnd[] = [];
  const asks: string[] = [];
  const load = { slot: 0, uncachedTokens: 900, reservedTokens: 1_000 };
  const options = {
    pick: { ...PICK, request: REQUEST },
    load,
    commit: { attempt: 1, ticket: "t", endpoints: ADDRESSES },
    parts: { ticket: "t", endpoints: ADDRESSES, terms: {} },
    replica,
    calls: {
      commit: (pending: PendingCommit) => void commits.push(pending),
      end: (end: LocalEnd) => void ends.push(end),
      beginWithPick: () => void asks.push("begin"),
      endWithPick: () => void asks.push("end"),
    },
    way: {},
    nowMs,
  } as unknown as SentOptions;
  const sent = new SentMeanwhile(options);
  sent.asked();
  const counted = () => [...replica.columns.inFlightRequests.subarray(0, 2)];
  return { sent, replica, show, counted, commits, ends, asks, nowMs };
}

describe("the replica counts what is on its way", () => {
  it("until the object has it elsewhere", () => {
    const { sent, show, counted, commits, asks } = sentTo();
    expect(counted()).toEqual([1, 0]);
    // Whatever snapshots come meanwhile.
    show(99);
    expect(counted()).toEqual([1, 0]);
    sent.calledOff();
    sent.calledOff();
    expect(counted()).toEqual([0, 0]);
    sent.grant.release("cancelled");
    expect(counted()).toEqual([0, 0]);
    expect(commits).toEqual([]);
    expect(asks).toEqual(["begin", "end"]);
  });

  it("on, where it is kept and no snapshot shows it, until it ends", () => {
    const { sent, replica, show, counted, nowMs } = sentTo();
    sent.kept(false, nowMs);
    expect(counted()).toEqual([1, 0]);
    show(replica.lastDispatch - 1);
    expect(counted()).toEqual([1, 0]);
    sent.grant[Symbol.dispose]();
    sent.grant[Symbol.dispose]();
    expect(counted()).toEqual([0, 0]);
  });

  it("on, until a snapshot shows it", () => {
    const { sent, replica, show, counted, nowMs } = sentTo();
    sent.kept(false, nowMs);
    show(replica.lastDispatch);
    expect(counted()).toEqual([0, 0]);
    sent.grant[Symbol.dispose]();
    expect(counted()).toEqual([0, 0]);
  });

  it("no more where the snapshot that came with it shows it", () => {
    const { sent, counted, nowMs } = sentTo();
    sent.kept(true, nowMs);
    expect(counted()).toEqual([0, 0]);
    sent.grant[Symbol.dispose]();
    expect(counted()).toEqual([0, 0]);
  });

  it.for(["kept", "untold", "calledOff"] as const)(
    "not where it has ended before it is %s",
    (how) => {
      const { sent, counted, ends, nowMs } = sentTo();
      sent.grant.release("relay-unreachable");
      expect(counted()).toEqual([0, 0]);
      if (how === "kept") sent.kept(false, nowMs);
      else sent[how](nowMs);
      expect(counted()).toEqual([0, 0]);
      expect(ends).toEqual([{ ticket: "t", attempt: 1, how: "relay-unreachable" }]);
    },
  );

  it("not at an endpoint that has its slot by now", () => {
    const { sent, replica, show, counted, nowMs } = sentTo();
    const others = ["10.0.0.7:8000", ADDRESSES[1]!];
    const named = edgeSnapshot(others);
    const endpoints = named.endpoints.map((each) => ({ ...each, id: `${each.id}-new` }));
    expect(show(0, { ...named, endpoints })).toMatchObject({ ok: true });
    expect(replica.addressOf(0)).toBe(others[0]);
    expect(counted()).toEqual([0, 0]);
    sent.kept(false, nowMs);
    expect(counted()).toEqual([0, 0]);
    sent.grant[Symbol.dispose]();
    expect(counted()).toEqual([0, 0]);
  });

  it("on, where nobody knows whether the object has it, until it is told: by its own number", () => {
    const { sent, replica, show, counted, commits, nowMs } = sentTo();
    const prompt = { promptTokens: 1, uncachedTokens: 1 };
    const before = replica.dispatched(1, 1, nowMs, prompt);
    sent.untold(nowMs + 50);
    expect(counted()).toEqual([1, 1]);
    expect(commits).toMatchObject([{ decidedAtMs: nowMs, commit: { ticket: "t" } }]);
    const { number } = commits[0]!;
    expect(number).toBeGreaterThan(before);
    show(number - 1);
    expect(counted()).toEqual([1, 0]);
    show(number);
    expect(counted()).toEqual([0, 0]);
  });
});
