import { reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import { COMMIT_TEXT_CHARS_MAX } from "../../../src/durable/edge/check-commit.ts";
import { ROOM_PER_ENDPOINT_MAX } from "../../../src/durable/edge/pool-credit.ts";
import { EDGE_BATCH_MAX, type LocalCommit } from "../../../src/scheduler/edge/contracts.ts";
import { PairDigest } from "../../../src/scheduler/edge/pair-digest.ts";
import {
  configurePool,
  pickRequest,
  poolStub,
  poolWithEndpoints,
  TestAgent,
  TestWorker,
  until,
} from "../pool-client.ts";
import {
  closedOf,
  creditAsk,
  localCommit,
  NOTHING_KNOWN,
  openedOf,
  sync,
  TERMS,
} from "./support.ts";

afterEach(() => reset());

const relayHello = { role: "relay", agent: "relay-0" } as const;

async function load() {
  const { endpoints, tickets } = await poolStub().state();
  return { open: tickets.open, inFlight: endpoints.map((each) => each.inFlightRequests) };
}

async function metric(name: string): Promise<string[]> {
  const text = await poolStub().metrics();
  return text.split("\n").filter((line) => line.startsWith(name));
}

/** Requests that are settled for good. */
const usage = () =>
  runInDurableObject(poolStub(), (_, { storage }) => {
    const [row] = storage.sql.exec("SELECT TOTAL(requests) AS requests FROM usage").toArray();
    return row!["requests"];
  });

describe("a sync", () => {
  it("says nothing of a pool that is not configured", async () => {
    expect(await sync({ commits: [localCommit(1)] })).toEqual({});
  });

  it("brings a commit into the account, and a relay's report takes it out", async () => {
    await poolWithEndpoints(2);
    const relay = await TestAgent.greeted(relayHello);
    const commit = localCommit(1);
    await sync({ commits: [commit] });
    expect(await load()).toEqual({ open: 1, inFlight: [1, 0] });
    relay.reports([openedOf(commit), closedOf(commit)]);
    await until(async () => (await load()).open === 0);
    expect(await load()).toEqual({ open: 0, inFlight: [0, 0] });
    expect(await metric('fairlead_edge_commits_total{outcome="opened"}')).toEqual([
      'fairlead_edge_commits_total{outcome="opened"} 1',
    ]);
  });

  it("answers with the pool as it is with what was told", async () => {
    await poolWithEndpoints(2);
    const first = await sync({});
    expect(first.snapshot).toMatchObject({ base: null, endpoints: [{ slot: 0 }, { slot: 1 }] });
    expect(first.snapshot?.summary?.pool).toBe("eu-1");
    const { epoch, version } = first.snapshot!;
    const known = { epoch, version, digest: "" };
    const second = await sync({ known, commits: [localCommit(1)] });
    expect(second.snapshot).toMatchObject({ base: version, endpoints: [], removed: [] });
    expect(second.snapshot!.version).toBeGreaterThan(version);
    expect(second.snapshot!.rows.byteLength).toBeLessThan(first.snapshot!.rows.byteLength);
  });

  it("tells which endpoint holds what, once there is a digest", async () => {
    await poolWithEndpoints(2);
    const relay = await TestAgent.greeted(relayHello);
    const commit = localCommit(1);
    await sync({ commits: [commit] });
    relay.reports([openedOf(commit)]);
    const digest = await until(async () => (await sync({})).snapshot?.digest);
    const pairs = PairDigest.decode(digest.bytes!)!;
    const [likely, bounds] = [new Int32Array(2), new Int32Array(2)];
    pairs.ask(commit.keys);
    for (const slot of [0, 1]) pairs.match(slot, likely, bounds);
    expect([...bounds]).toEqual([commit.keys.length / 2, 0]);
  });

  it("takes a commit whose end was reported before for what it teaches", async () => {
    await poolWithEndpoints(2);
    const relay = await TestAgent.greeted(relayHello);
    const commit = localCommit(1);
    relay.reports([openedOf(commit), closedOf(commit)]);
    await until(async () => (await usage()) === 1);
    await sync({ commits: [commit] });
    expect(await load()).toEqual({ open: 0, inFlight: [0, 0] });
    // The next one with that prompt goes where it was served.
    using worker = new TestWorker();
    const grant = await worker.pick(pickRequest("next", { keys: commit.keys }));
    expect(grant).toMatchObject({ ok: true, endpoints: ["10.0.0.1:8000", "10.0.0.2:8000"] });
    const { explanation } = await poolStub().explain(commit.requestId);
    expect(explanation?.attempts).toMatchObject([
      { chosen: ["10.0.0.1:8000"], result: { outcome: "ok", cachedTokens: 1_024 } },
    ]);
    expect(await usage()).toBe(1);
  });

  it("is explained, with why it was not asked", async () => {
    await poolWithEndpoints(2);
    await sync({ commits: [localCommit(1)] });
    const { explanation } = await poolStub().explain("local-1");
    expect(explanation).toMatchObject({
      requestId: "local-1",
      attempts: [{ attempt: 0, model: "m", chosen: ["10.0.0.1:8000"], decided: TERMS }],
    });
  });

  it("counts decisions of isolates with the others", async () => {
    await poolWithEndpoints(2);
    await sync({ commits: [localCommit(1), localCommit(1), localCommit(2)] });
    const counted = await metric("llm_d_epp_scheduler_attempts_total");
    expect(counted.map((line) => line.split(" ").at(-1))).toEqual(["2"]);
  });
});

describe("what an isolate should not say", () => {
  const long = "x".repeat(COMMIT_TEXT_CHARS_MAX + 1);
  const wrong = [
    { requestId: long },
    { endpoints: [] },
    { endpoints: Array.from({ length: 9 }, () => "10.0.0.1:8000") },
    { keys: new Uint32Array(3) },
    { keys: new Uint32Array(200_000) },
    { promptTokens: Number.NaN },
    { weight: 0 },
    { ticket: "a81b22f0c4d97e13-4t.zk.e8.1b2.0" },
    { attempt: -1 },
    { endpoints: undefined as unknown as string[] },
  ] satisfies Partial<LocalCommit>[];

  it("is refused alone, and counted", async () => {
    await poolWithEndpoints(2);
    const commits = wrong.map((shape, n) => localCommit(n, shape));
    await sync({
      commits: [...commits, localCommit(99)],
      ends: [
        { ticket: "a-1", attempt: 0, how: "left" },
        { ...endOf(localCommit(98)), how: "?" },
      ],
    });
    expect((await load()).open).toBe(1);
    expect(await metric('fairlead_edge_commits_total{outcome="malformed"}')).toEqual([
      `fairlead_edge_commits_total{outcome="malformed"} ${wrong.length + 2}`,
    ]);
  });

  it("is not heard beyond a batch", async () => {
    await poolWithEndpoints(2);
    const commits = Array.from({ length: EDGE_BATCH_MAX + 3 }, (_, n) => localCommit(n));
    await sync({ commits });
    expect((await load()).open).toBe(EDGE_BATCH_MAX);
    expect(await metric('fairlead_edge_commits_total{outcome="beyond-batch"}')).toEqual([
      'fairlead_edge_commits_total{outcome="beyond-batch"} 3',
    ]);
  });
});

function endOf({ ticket, attempt }: LocalCommit) {
  return { ticket, attempt, how: "cancelled" };
}

describe("an end that an isolate tells", () => {
  it("releases what no relay has taken, in the call that tells the commit, too", async () => {
    await poolWithEndpoints(2);
    const commit = localCommit(1);
    await sync({ commits: [commit], ends: [{ ...endOf(commit), how: "relay-unreachable" }] });
    expect(await load()).toEqual({ open: 0, inFlight: [0, 0] });
  });
});

describe("an object that is reset in between", () => {
  it("counts a ticket once, by the relay's word and the commit told again", async () => {
    await poolWithEndpoints(2);
    const commit = localCommit(1);
    await sync({ commits: [commit] });
    await runInDurableObject(poolStub(), (_, ctx) => ctx.abort("reset")).catch(() => undefined);
    const relay = await TestAgent.greeted(relayHello);
    relay.reports([openedOf(commit)]);
    await until(async () => (await load()).open === 1);
    await sync({ commits: [commit] });
    expect((await load()).open).toBe(1);
    relay.reports([closedOf(commit)]);
    await until(async () => (await load()).open === 0);
    await sync({ commits: [commit] });
    expect((await load()).open).toBe(0);
    await until(async () => (await usage()) === 1);
  });
});

describe("credit", () => {
  const flowControl = {
    featureGates: ["flowControl"],
    plugins: [{ type: "concurrency-detector", parameters: { maxConcurrency: 4 } }],
    saturationDetector: { pluginRef: "concurrency-detector" },
  };

  const granted = (want: number) =>
    until(async () => {
      const { credit } = await sync({ credit: creditAsk(want) });
      return credit !== undefined && credit.limit > 0 ? credit : undefined;
    });

  it("is bounded by the endpoints where nothing says what they take", async () => {
    await poolWithEndpoints(2);
    const credit = await granted(1_000_000);
    expect(credit.scope).toBe("pool/eu-1");
    expect(credit.limit).toBeLessThanOrEqual(2 * ROOM_PER_ENDPOINT_MAX);
    const outstanding = await metric("fairlead_edge_credit_outstanding");
    expect(outstanding.map((line) => Number(line.split(" ").at(-1)))).toEqual([credit.limit]);
  });

  it("is what flow control leaves, whoever asks and by what name", async () => {
    await poolWithEndpoints(2, flowControl);
    await granted(100);
    const [one, other] = await Promise.all([
      sync({ credit: creditAsk(100, { scope: "pool/a" }) }),
      sync({ credit: creditAsk(100, { holder: "i2", scope: "pool/b" }) }),
    ]);
    expect(one.credit!.limit + other.credit!.limit).toBeLessThanOrEqual(8);
    // Local picks take the room like others.
    const commits = Array.from({ length: 8 }, (_, n) => localCommit(n));
    const third = creditAsk(100, { holder: "i3" });
    expect((await sync({ commits, credit: third })).credit!.limit).toBe(0);
  });

  it("comes with a grant that asks for it", async () => {
    await poolWithEndpoints(2);
    await granted(10);
    using worker = new TestWorker();
    const asked = { edge: NOTHING_KNOWN, credit: creditAsk(10) };
    const grant = await worker.pick({ ...pickRequest("r1"), ...asked });
    expect(grant).toMatchObject({ ok: true, edge: { base: null }, credit: { limit: 10 } });
    const silent = await worker.pick(pickRequest("r2"));
    expect(silent).not.toHaveProperty("edge");
    expect(silent).not.toHaveProperty("credit");
  });
});

describe("flow control", () => {
  const flowControl = (maxConcurrency: number) => ({
    featureGates: ["flowControl"],
    plugins: [{ type: "concurrency-detector", parameters: { maxConcurrency } }],
    saturationDetector: { pluginRef: "concurrency-detector" },
  });

  const pickAs = (requestId: string, fairnessId: string) => ({
    ...pickRequest(requestId, { tenant: fairnessId }),
    flow: { fairnessId, weight: 1, receivedAtMs: Date.now(), waitsForEndpoints: true },
  });

  it("serves who was served least, by local picks too", async () => {
    await poolWithEndpoints(1, flowControl(2));
    const relay = await TestAgent.greeted(relayHello);
    const first = [1, 2].map((n) => localCommit(n, { fairnessId: "other" }));
    await sync({ commits: first });
    const order: string[] = [];
    const waits: Promise<unknown>[] = [];
    for (const fairnessId of ["busy", "quiet"]) {
      const queued = await env.POOLS.pick("eu-1", pickAs(`w-${fairnessId}`, fairnessId));
      expect(queued.ok).toBe("queued");
      const { handle } = queued as unknown as { handle: { wait(): Promise<{ ok: unknown }> } };
      waits.push(handle.wait().then(() => order.push(fairnessId)));
    }
    // Who came first is served more at the edge meanwhile.
    const busy = localCommit(3, { fairnessId: "busy" });
    await sync({ commits: [busy] });
    relay.reports([...first.map(openedOf), ...first.map(closedOf)]);
    await until(() => order.length === 1);
    expect(order).toEqual(["quiet"]);
    relay.reports([openedOf(busy), closedOf(busy)]);
    await Promise.all(waits);
  });

  it("counts local picks in its band, and lets nobody in on credit while somebody waits", async () => {
    await poolWithEndpoints(1, flowControl(1));
    await sync({ commits: [localCommit(1)] });
    expect(await poolStub().queueState()).toMatchObject({
      bands: [{ priority: 0, flows: [{ fairnessId: "acme", inFlight: 1 }] }],
    });
  });
});

describe("a request that an isolate has decided on, tired of waiting for the object", () => {
  const flowControl = (maxConcurrency: number) => ({
    featureGates: ["flowControl"],
    plugins: [{ type: "concurrency-detector", parameters: { maxConcurrency } }],
    saturationDetector: { pluginRef: "concurrency-detector" },
  });
  const inFlight = async () => {
    const state = await poolStub().queueState();
    return state?.bands.flatMap(({ flows }) => flows.map((flow) => flow.inFlight)) ?? [];
  };

  it("is in the account as the isolate's, though the object's grant is given back later", async () => {
    await poolWithEndpoints(2, flowControl(4));
    const relay = await TestAgent.greeted(relayHello);
    const commit = localCommit(1, { endpoints: ["10.0.0.2:8000"] });
    using worker = new TestWorker();
    await worker.pick({ ...pickRequest(commit.requestId), attempt: commit.attempt });
    expect((await load()).open).toBe(1);
    await sync({ commits: [commit] });
    expect(await load()).toEqual({ open: 1, inFlight: [0, 1] });
    worker[Symbol.dispose]();
    relay.reports([openedOf(commit), openedOf(localCommit(2))]);
    await until(async () => (await load()).open === 2);
    expect(await inFlight()).toEqual([1]);
    const { explanation } = await poolStub().explain(commit.requestId);
    expect(explanation?.attempts).toMatchObject([
      { chosen: commit.endpoints, decided: { where: "local" } },
    ]);
    relay.reports([closedOf(commit)]);
    await until(async () => (await inFlight()).every((count) => count === 0));
  });

  it("does not wait in the object any more", async () => {
    await poolWithEndpoints(1, flowControl(1));
    await sync({ commits: [localCommit(1)] });
    const late = localCommit(2);
    const flow = {
      fairnessId: "acme",
      weight: 1,
      receivedAtMs: Date.now(),
      waitsForEndpoints: true,
    };
    const asked = { ...pickRequest(late.requestId), attempt: late.attempt, flow };
    const queued = await env.POOLS.pick("eu-1", asked);
    expect(queued.ok).toBe("queued");
    await sync({ commits: [late] });
    expect(await inFlight()).toEqual([2]);
    expect((await poolStub().queueState())?.places).toBe(0);
  });
});

describe("a Worker of the release before", () => {
  it("is granted without a snapshot", async () => {
    await poolWithEndpoints(1);
    using worker = new TestWorker();
    const asked = { ...pickRequest("r1"), wantsSnapshot: true };
    expect(await worker.pick(asked)).toMatchObject({ ok: true });
  });
});

describe("an object that is configured anew", () => {
  it("goes on with what isolates have told", async () => {
    await poolWithEndpoints(1);
    await sync({ commits: [localCommit(1)] });
    await configurePool(2, 500);
    await until(async () => (await sync({})).snapshot?.configVersion === 2);
    expect((await load()).open).toBe(1);
  });
});
