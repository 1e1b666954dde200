// Deciding where to decide: an isolate with a real replica and scheduler, and an object that answers as the test
// says.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { isEdgeTicket, parseTicketName } from "../../../src/agents/protocol/ticket-name.ts";
import { effectiveScheduler } from "../../../src/config/scheduling.ts";
import type { PickRequest } from "../../../src/durable/contract.ts";
import { schedulerHash } from "../../../src/scheduler/config/scheduler-hash.ts";
import type { PoolFacts } from "../../../src/scheduler/edge/snapshot-source.ts";
import { EDGE_GATHER_MS, SYNC_DEADLINE_MS } from "../../../src/worker/edge/edge-calls.ts";
import { UNREADABLE_PAUSE_MS } from "../../../src/worker/edge/object-link.ts";
import { EdgePool } from "../../../src/worker/edge/edge-pool.ts";
import { PoolView } from "../../../src/worker/upstream/pool-view.ts";
import {
  type Grant,
  type PickContext,
  pickEndpoints,
} from "../../../src/worker/upstream/pool-picks.ts";
import {
  ADDRESSES,
  edgePool,
  edgeSnapshot,
  pickContext,
  PICK,
  place,
  refuses,
  ScriptedObject,
} from "../support/scripted-object.ts";

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

const CREDIT = { scope: "pool/eu-1", epoch: "c", seq: 1, limit: 2, ttlMs: 5_000 };
const FAR_MS = 40;
/** Of PICK: 900 prompt tokens that nobody holds, and 100 of output. */
const RESERVED = 1_000;

interface Setting {
  readonly config?: object;
  readonly facts?: Partial<PoolFacts>;
  readonly limit?: number;
  readonly rttMs?: number;
  readonly hasDigest?: boolean;
  readonly roles?: readonly string[];
}

const UPSTREAMS = {
  relays: [],
  upstreams: [{ name: "one", kind: "openai", url: "https://one.example/v1" }],
};

/** Each prompt is computed by an endpoint with the role `prefill`, and answered by one with `decode`. */
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
const ROLES = ["decode", "prefill", "prefill"];
const SPLIT_ADDRESSES = [...ADDRESSES, "10.0.0.3:8000"];

/** An isolate that knows a pool of two endpoints, or of those with `roles`, and how far its object is. */
function isolate(setting: Setting = {}) {
  const { config = {}, facts = {}, limit = CREDIT.limit, rttMs = FAR_MS, roles } = setting;
  const addresses = roles === undefined ? ADDRESSES : SPLIT_ADDRESSES;
  const object = new ScriptedObject();
  const view = new PoolView();
  const edge = new EdgePool({ address: "eu-1", pool: edgePool(config), view, seed: 1 });
  edge.link.measured(rttMs, Date.now());
  const credit = { ...CREDIT, limit };
  const digest = { version: "d", added: new Uint32Array(0) };
  const others = edgeSnapshot(addresses, facts, roles);
  const snapshot = setting.hasDigest === false ? others : { ...others, digest };
  edge.granted(object.grant({ edge: snapshot, credit }), PICK_BEFORE, Date.now());
  object.syncAnswer = async () => ({ snapshot: edgeSnapshot(addresses, facts, roles), credit });
  const held: Promise<void>[] = [];
  const way = { port: () => distant(object.port(), rttMs), edge, view };
  const context = pickContext(object, { ...way, hold: (work) => void held.push(work) });
  const pick = async (
    change: Partial<PickRequest["request"]> = {},
    more: Partial<PickRequest> = {},
    how: Partial<PickContext> = {},
  ) => {
    const request = { ...PICK.request, ...change };
    const picked = pickEndpoints({ ...PICK, request, ...more }, { ...context, ...how });
    await vi.advanceTimersByTimeAsync(rttMs);
    return picked;
  };
  return { object, edge, pick, held };
}

/** The same object, so far away. */
function distant(port: ReturnType<ScriptedObject["port"]>, rttMs: number) {
  const far = async <Answer>(call: () => Promise<Answer>) => {
    await new Promise((resolve) => setTimeout(resolve, rttMs));
    return call();
  };
  return {
    ...port,
    pick: (...call: Parameters<typeof port.pick>) => far(() => port.pick(...call)),
    sync: (...call: Parameters<typeof port.sync>) => far(() => port.sync(...call)),
  };
}

/** A prompt without a full block is cached nowhere: there is nothing to gain. */
const SHORT = { keys: new Uint32Array(0) };
/** One that somebody may have. */
const LONG = { keys: Uint32Array.from({ length: 2_000 }, (_, i) => i), promptTokens: 64_000 };
const PICK_BEFORE = { ...PICK, request: { ...PICK.request, ...SHORT } };

function termsOf(outcome: Awaited<ReturnType<typeof pickEndpoints>>): Grant["terms"] {
  if (!outcome.ok) throw new Error(outcome.detail);
  return outcome.terms;
}

describe("a pick of the isolate's own", () => {
  it("asks nobody, and tells the object afterwards", async () => {
    const { object, pick, held } = isolate();
    const grant = await pick(SHORT);
    if (!grant.ok) throw new Error(grant.detail);
    expect(object.calls).toEqual([]);
    expect(grant).toMatchObject({ isLocal: true, terms: { reason: "nothing-to-gain" } });
    expect(grant.endpoints[0]).toBe(ADDRESSES[0]);
    expect(isEdgeTicket(grant.ticket)).toBe(true);
    expect(parseTicketName(grant.ticket)).toMatchObject({
      promptTokens: 900,
      outputTokens: 100,
      reservedTokens: RESERVED,
      priority: 3,
    });
    grant[Symbol.dispose]();
    grant[Symbol.dispose]();
    await vi.advanceTimersByTimeAsync(500);
    await Promise.all(held);
    const [sync, later] = object.syncs;
    expect(object.syncs).toHaveLength(2);
    expect(sync!.commits).toMatchObject([
      {
        requestId: "fl-1",
        attempt: 1,
        ticket: grant.ticket,
        endpoints: grant.endpoints,
        tenant: "acme",
        fairnessId: "acme",
        weight: 1,
        reservedTokens: RESERVED,
        terms: { where: "local", rttMs: FAR_MS, credit: CREDIT.limit },
      },
    ]);
    expect(later!.ends).toEqual([{ ticket: grant.ticket, attempt: 1, how: "left" }]);
    expect(sync!.credit).toMatchObject({ spent: 1, epoch: "c" });
  });

  it("is told of by how it ended, once", async () => {
    const { object, pick } = isolate();
    const grant = await pick(SHORT);
    if (!grant.ok) throw new Error(grant.detail);
    grant.release("relay-unreachable");
    grant[Symbol.dispose]();
    await vi.advanceTimersByTimeAsync(200);
    const ends = object.syncs.flatMap((sync) => sync.ends);
    expect(ends.map(({ how }) => how)).toEqual(["relay-unreachable"]);
  });

  it.for([
    { status: 200, how: "unmetered" },
    { status: 429, how: "refused" },
    { status: 502, how: "refused" },
  ])("of which its own Worker carried a $status is told as $how", async ({ status, how }) => {
    const { object, pick } = isolate();
    const grant = await pick(SHORT);
    if (!grant.ok) throw new Error(grant.detail);
    await grant.settle({ status, outcome: "completed", ttftMs: 1, durationMs: 2 });
    await vi.advanceTimersByTimeAsync(200);
    expect(object.syncs.flatMap((sync) => sync.ends)).toMatchObject([{ how }]);
  });

  it("counts where it goes before any snapshot shows it, and spares what was excluded", async () => {
    const { pick } = isolate({ limit: 1e6 });
    const firsts = [];
    for (let i = 0; i < 4; i++) {
      const grant = await pick(SHORT, { attempt: i });
      firsts.push(grant.ok ? grant.endpoints[0] : "");
    }
    expect(new Set(firsts)).toEqual(new Set(ADDRESSES));
    const other = await pick(SHORT, { attempt: 9, exclude: [ADDRESSES[0]!] });
    expect(other).toMatchObject({ isLocal: true, endpoints: [ADDRESSES[1]] });
  });

  it("tells nothing of the prompt but its keys", async () => {
    const { object, pick } = isolate();
    await pick({ ...SHORT, headers: { "x-session": "secret-of-the-client" } });
    await vi.advanceTimersByTimeAsync(100);
    expect(object.syncs).toHaveLength(1);
    expect(JSON.stringify(object.syncs)).not.toContain("secret-of-the-client");
  });
});

describe("the object is asked", () => {
  it.for([
    { name: "near", setting: { rttMs: 1 }, reason: "near" },
    {
      name: "said to decide",
      setting: { config: { decide: "consult" } },
      reason: "forced-consult",
    },
    { name: "one in which requests wait", setting: { facts: { waiting: 1 } }, reason: "held" },
    { name: "one that holds back", setting: { facts: { isHeld: true } }, reason: "held" },
    { name: "one of a full pool", setting: { facts: { saturation: 1 } }, reason: "full" },
    {
      name: "configured otherwise, of a release that says no more",
      setting: { facts: { configVersion: 2 } },
      reason: "stale",
    },
    {
      name: "scheduling otherwise",
      setting: { facts: { configVersion: 2, schedulerHash: "other" } },
      reason: "stale",
    },
    { name: "out of the isolate's credit", setting: { limit: 0 }, reason: "no-credit" },
  ])("that is $name", async ({ setting, reason }) => {
    const { object, pick } = isolate(setting as Setting);
    object.goOn(object.grants);
    expect(termsOf(await pick(SHORT))).toMatchObject({ where: "consult", reason });
    expect(object.calls[0]!.terms).toMatch(new RegExp(`^consult ${reason} `));
  });

  it("about a prompt that somebody may have cached", async () => {
    const { object, pick } = isolate({ limit: 1e9 });
    object.goOn(object.grants);
    const terms = termsOf(await pick(LONG));
    expect(terms).toMatchObject({ where: "consult", reason: "cache-elsewhere" });
    expect(terms.gainMs).toBeGreaterThan(FAR_MS);
  });

  it("when the credit is used up, and lets it be renewed by the answer", async () => {
    const { object, pick } = isolate();
    const reasons = [];
    for (let attempt = 1; attempt <= 2; attempt++)
      reasons.push(termsOf(await pick(SHORT, { attempt })).reason);
    const credit = { ...CREDIT, seq: 2, limit: 2 * CREDIT.limit };
    object.goOn(async () => object.grant({ credit, edge: edgeSnapshot() }));
    reasons.push(termsOf(await pick(SHORT, { attempt: 3 })).reason);
    expect(object.calls[0]!.credit).toMatchObject({ epoch: "c", spent: 1 });
    reasons.push(termsOf(await pick(SHORT, { attempt: 4 })).reason);
    expect(reasons).toEqual(["nothing-to-gain", "nothing-to-gain", "no-credit", "nothing-to-gain"]);
  });

  it("with where it would have gone, which counts there until the answer", async () => {
    const { object, pick } = isolate({ limit: 1e9 });
    object.goOn(object.grants, object.grants, object.grants, object.grants);
    await pick(LONG);
    await pick(LONG, { attempt: 2 });
    await Promise.all([pick(LONG, { attempt: 3 }), pick(LONG, { attempt: 4 })]);
    const [first, second, ...atOnce] = object.calls.map(({ proposed }) => proposed);
    expect([first, second]).toEqual([ADDRESSES[0], ADDRESSES[0]]);
    expect(new Set(atOnce)).toEqual(new Set(ADDRESSES));
  });

  it("and answers with a place: nothing counts anywhere while it is waited for", async () => {
    const { object, pick } = isolate({ limit: 1e9 });
    object.goOn(place(5_000), object.grants, object.grants);
    const waiting = pick(LONG);
    await vi.advanceTimersByTimeAsync(FAR_MS);
    await pick(LONG, { attempt: 2 });
    expect(object.calls.map(({ proposed }) => proposed)).toEqual([ADDRESSES[0], ADDRESSES[0]]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await waiting).toMatchObject({ ok: true });
  });

  it("when what is known is old", async () => {
    const { object, pick } = isolate();
    await vi.advanceTimersByTimeAsync(2_001);
    object.goOn(object.grants);
    expect(termsOf(await pick(SHORT))).toMatchObject({ reason: "stale" });
    expect(object.calls[0]!.edge).toMatchObject({ epoch: "e" });
    // Nobody has looked where it would go.
    expect(object.calls[0]).not.toHaveProperty("proposed");
  });

  it("for a request that may be asked for twice", async () => {
    const { object, pick } = isolate();
    object.goOn(object.grants);
    const outcome = await pick(SHORT, {}, { isConsulted: true });
    expect(termsOf(outcome)).toMatchObject({ reason: "not-local" });
  });

  it.for([
    { name: "requests are asked about each", config: {}, isConsulted: true },
    { name: "upstreams answer", config: UPSTREAMS, isConsulted: false },
  ])("for no more than endpoints where $name", async ({ config, isConsulted }) => {
    const { object, pick } = isolate({ config, hasDigest: false });
    for (let attempt = 1; attempt <= 20; attempt++) {
      object.goOn(async () => {
        const { edge, ...grant } = object.grant();
        return object.calls.at(-1)!.edge === undefined ? grant : { ...grant, edge: edge! };
      });
      await pick(SHORT, { attempt }, { isConsulted });
      await vi.advanceTimersByTimeAsync(60);
    }
    expect(object.calls).toHaveLength(20);
    expect(object.calls.filter(({ credit }) => credit !== undefined)).toEqual([]);
    const known = object.calls.flatMap(({ edge }) => (edge === undefined ? [] : [edge]));
    // 20 times 100 ms: what stands in while the object is away.
    expect(known).toHaveLength(1);
    expect(known[0]).not.toHaveProperty("digest");
    expect(object.syncs).toEqual([]);
  });
});

describe("a prompt that another endpoint computes than the one that answers", () => {
  const split = { config: SPLIT, roles: ROLES, limit: 1e9 };
  const [decoder, first, second] = SPLIT_ADDRESSES;

  it("is asked about without a proposal: the object would look for the prompt where it is not computed", async () => {
    const { object, pick } = isolate(split);
    object.goOn(object.grants);
    expect(termsOf(await pick(LONG))).toMatchObject({ reason: "cache-elsewhere" });
    expect(object.calls[0]).not.toHaveProperty("proposed");
  });

  it("counts where it is computed, whoever has decided on it", async () => {
    const { object, pick } = isolate(split);
    const prefillers = ({ ok, ...grant }: Awaited<ReturnType<typeof pick>>) =>
      ok && "stages" in grant ? grant.stages![0] : undefined;
    expect(prefillers(await pick(SHORT))).toBe(`${first},${second}`);
    expect(prefillers(await pick(SHORT, { attempt: 2 }))).toBe(`${second},${first}`);
    const other = isolate(split);
    const stages = [first!, "", "", ""];
    const { edge: _, ...grant } = object.grant({ endpoints: [decoder!], stages });
    other.object.goOn(async () => grant);
    await other.pick(LONG);
    expect(prefillers(await other.pick(SHORT, { attempt: 2 }))).toBe(`${second},${first}`);
  });
});

describe("while the object is away", () => {
  it("its replica serves without credit, and what it did is told when the object is back", async () => {
    const { object, pick } = isolate({ limit: 0 });
    const away = () => Promise.reject(new Error("gone"));
    object.syncAnswer = away;
    object.goOn(away);
    const outcomes = [];
    for (let attempt = 1; attempt <= 3; attempt++) outcomes.push(await pick(SHORT, { attempt }));
    expect(outcomes.map((outcome) => termsOf(outcome).reason)).toEqual(
      Array(3).fill("object-away"),
    );
    expect(object.calls).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(300);
    object.syncAnswer = async () => ({ snapshot: edgeSnapshot() });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(object.syncs.at(-1)!.commits.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    object.goOn(object.grants);
    expect(termsOf(await pick(SHORT, { attempt: 4 })).reason).toBe("no-credit");
  });

  it("is found out by picks: who takes long to be told may have requests waiting", async () => {
    const { object, pick } = isolate({ limit: 1, facts: { saturation: 0.5 } });
    object.syncAnswer = () => new Promise(() => undefined);
    expect(termsOf(await pick(SHORT)).reason).toBe("nothing-to-gain");
    await vi.advanceTimersByTimeAsync(SYNC_DEADLINE_MS + EDGE_GATHER_MS);
    object.goOn(refuses("rejected-saturated"));
    expect(await pick(SHORT, { attempt: 2 })).toMatchObject({ reason: "rejected-saturated" });
    expect(object.calls).toHaveLength(1);
  });

  it("serves nothing that only the object may grant", async () => {
    const { object, pick } = isolate();
    object.goOn(() => Promise.reject(new Error("gone")));
    const outcome = await pick(SHORT, {}, { needsObject: true });
    expect(outcome).toMatchObject({ ok: false, reason: "unavailable" });
  });
});

describe("a snapshot that cannot be read", () => {
  const unreadable = () => ({ ...edgeSnapshot(), endpoints: undefined }) as never;

  it("is as none, and what came with it is as good", async () => {
    const { object, pick } = isolate();
    await vi.advanceTimersByTimeAsync(200);
    const credit = { ...CREDIT, seq: 2, limit: 50 };
    object.syncAnswer = async () => ({ snapshot: unreadable(), credit });
    await pick(SHORT);
    await vi.advanceTimersByTimeAsync(400);
    expect(object.syncs.flatMap(({ commits }) => commits)).toHaveLength(1);
    object.goOn(async () => object.grant({ edge: unreadable() }));
    expect(termsOf(await pick(SHORT, { attempt: 2 }))).toMatchObject({
      reason: "no-snapshot",
      credit: 49,
    });
    await vi.advanceTimersByTimeAsync(UNREADABLE_PAUSE_MS);
    object.goOn(async () => object.grant({ edge: edgeSnapshot() }));
    await pick(SHORT, { attempt: 3 });
    expect(object.calls.map(({ edge }) => edge?.version)).toEqual([undefined, 0]);
    expect(termsOf(await pick(SHORT, { attempt: 4 })).reason).toBe("nothing-to-gain");
  });
});

describe("another configuration", () => {
  it("of other pools changes nothing here", async () => {
    const hash = schedulerHash(effectiveScheduler({}));
    const { object, edge, pick } = isolate({ facts: { schedulerHash: hash } });
    edge.configure({ ...edgePool(), configVersion: 2 });
    expect(termsOf(await pick(SHORT)).reason).toBe("nothing-to-gain");
    expect(object.calls).toEqual([]);
  });

  it("is decided by when the object has it, too", async () => {
    const { object, edge, pick } = isolate();
    const pool = { ...edgePool(), configVersion: 2 };
    edge.configure(pool);
    object.goOn(async () => object.grant({ edge: edgeSnapshot(ADDRESSES, { configVersion: 2 }) }));
    await vi.advanceTimersByTimeAsync(200);
    expect(termsOf(await pick(SHORT)).reason).toBe("stale");
    expect(termsOf(await pick(SHORT, { attempt: 2 })).reason).toBe("nothing-to-gain");
  });
});
