// What isolates have sent already and ask about: kept where it is, or granted elsewhere and called off.

import { reset } from "cloudflare:test";
import { afterEach, describe, expect, it } from "vitest";
import type { HeldGrant, PickRequest } from "../../../src/durable/contract.ts";
import type { LocalCommit } from "../../../src/scheduler/edge/contracts.ts";
import {
  configurePool,
  endpoint,
  pickRequest,
  poolStub,
  poolWithEndpoints,
  TestAgent,
  TestWorker,
  until,
} from "../pool-client.ts";
import {
  askAbout,
  billed,
  cancelledOf,
  closedBy,
  closedOf,
  creditAsk,
  localCommit,
  NOTHING_KNOWN,
  occupy,
  openedBy,
  openedOf,
  OTHER_ATTEMPT,
  type SentAnswer,
  sync,
  TERMS,
} from "./support.ts";

const held: Disposable[] = [];
afterEach(async () => {
  for (const each of held.splice(0)) each[Symbol.dispose]();
  await reset();
});

const ENDPOINTS = 3;
const RELAY = { role: "relay", agent: "relay-0" } as const;
const FLOW_CONTROL = (maxConcurrency: number) => ({
  featureGates: ["flowControl"],
  plugins: [{ type: "concurrency-detector", parameters: { maxConcurrency } }],
  saturationDetector: { pluginRef: "concurrency-detector" },
});

/** The object is asked about `sent`, and what it gives is held until the test ends. */
async function ask(sent: LocalCommit, more: Partial<PickRequest> = {}): Promise<SentAnswer> {
  const answer = await askAbout(sent, more);
  if (answer[Symbol.dispose] !== undefined) held.push(answer as Disposable);
  return answer;
}

/** Asked about and granted elsewhere. */
async function moved(sent: LocalCommit): Promise<HeldGrant> {
  await occupy(endpoint(1).address);
  const answer = await ask(sent);
  if (answer.ok !== true) throw new Error(JSON.stringify(answer));
  return answer;
}

async function load() {
  const { endpoints, tickets } = await poolStub().state();
  return { open: tickets.open, inFlight: endpoints.map((each) => each.inFlightRequests) };
}

const sortedLoads = async () => (await load()).inFlight.toSorted((a, b) => a - b);

const inFlight = async () =>
  (await poolStub().queueState())?.bands.flatMap(({ flows }) =>
    flows.map((flow) => [flow.fairnessId, flow.inFlight]),
  ) ?? [];

async function commits(outcome: string): Promise<number> {
  const start = `fairlead_edge_commits_total{outcome="${outcome}"} `;
  const lines = (await poolStub().metrics()).split("\n");
  return Number(lines.find((line) => line.startsWith(start))?.slice(start.length) ?? 0);
}

describe("what was sent where it is well", () => {
  it("is kept, and counts there", async () => {
    await poolWithEndpoints(ENDPOINTS);
    expect(await ask(localCommit(1))).toMatchObject({ ok: "kept" });
    expect(await load()).toEqual({ open: 1, inFlight: [1, 0, 0] });
    expect(await commits("opened")).toBe(1);
    const { explanation } = await poolStub().explain("local-1");
    expect(explanation!.attempts).toMatchObject([{ attempt: 0, chosen: [endpoint(1).address] }]);
  });

  it("teaches what its endpoint holds", async () => {
    await poolWithEndpoints(ENDPOINTS);
    const relay = await TestAgent.greeted(RELAY);
    const sent = localCommit(1, { endpoints: [endpoint(2).address] });
    await ask(sent);
    relay.reports([openedOf(sent), closedOf(sent)]);
    await until(async () => (await load()).open === 0);
    using worker = new TestWorker();
    const next = await worker.pick(pickRequest("next", { keys: sent.keys }));
    expect(next).toMatchObject({ ok: true, endpoints: { 0: endpoint(2).address } });
  });

  it("brings a snapshot that shows it, and credit", async () => {
    await poolWithEndpoints(ENDPOINTS);
    const asked = { edge: NOTHING_KNOWN, credit: creditAsk(4) };
    const answer = await ask(localCommit(1), asked);
    expect(answer).toMatchObject({
      ok: "kept",
      edge: { base: null },
      credit: { scope: "pool/eu-1" },
    });
    const silent = await ask(localCommit(2, { endpoints: [endpoint(2).address] }));
    expect(silent).toEqual({ ok: "kept" });
  });

  it("stays where others are hardly better: a round trip is worth more", async () => {
    await poolWithEndpoints(ENDPOINTS);
    const mean = { promptTokens: 100, reservedTokens: 200 };
    await sync({ commits: [localCommit(8, { ...mean, endpoints: [endpoint(1).address] })] });
    const far = { ...TERMS, rttMs: 200 };
    expect(await ask(localCommit(1, { terms: far }))).toMatchObject({ ok: "kept" });
    expect((await load()).inFlight).toEqual([2, 0, 0]);
  });

  it("is one request, however often it is told, and is not judged by its own load", async () => {
    await poolWithEndpoints(ENDPOINTS);
    const long = localCommit(1, { promptTokens: 60_000, reservedTokens: 60_100 });
    for (let times = 0; times < 3; times++) expect(await ask(long)).toMatchObject({ ok: "kept" });
    await sync({ commits: [long] });
    expect(await load()).toEqual({ open: 1, inFlight: [1, 0, 0] });
    expect([await commits("opened"), await commits("known")]).toEqual([1, 3]);
  });
});

describe("what was sent where another endpoint is better", () => {
  it("is granted there, and counts at both until the first has ended", async () => {
    await poolWithEndpoints(ENDPOINTS);
    const relay = await TestAgent.greeted(RELAY);
    const sent = localCommit(1);
    const grant = await moved(sent);
    expect(grant).toMatchObject({ callsOff: true });
    expect(grant.endpoints[0]).not.toBe(endpoint(1).address);
    expect(await sortedLoads()).toEqual([0, 1, 2]);
    relay.reports([openedOf(sent), cancelledOf(sent)]);
    await until(async () => (await load()).open === 2);
    expect(await sortedLoads()).toEqual([0, 1, 1]);
  });

  it("is paid for once, by whom its answer came from", async () => {
    await poolWithEndpoints(ENDPOINTS, FLOW_CONTROL(8));
    const relay = await TestAgent.greeted(RELAY);
    const sent = localCommit(1, { fairnessId: "whose" });
    const grant = await moved(sent);
    relay.reports([openedOf(sent), openedBy(grant), cancelledOf(sent), closedBy(grant)]);
    await until(async () => (await load()).open === 1);
    await until(async () => (await billed()) === 1);
    expect(await inFlight()).toContainEqual(["acme", 1]);
    expect(await inFlight()).not.toContainEqual(["whose", 1]);
  });

  it("is not paid for where it was cut off, though its engine had begun and told what it used", async () => {
    await poolWithEndpoints(ENDPOINTS);
    const relay = await TestAgent.greeted(RELAY);
    const sent = localCommit(1);
    const grant = await moved(sent);
    const begun = { ...closedOf(sent), outcome: "cancelled" as const, completionTokens: 3 };
    relay.reports([openedOf(sent), begun, openedBy(grant), closedBy(grant)]);
    await until(async () => (await load()).open === 1);
    await expect.poll(billed).toBe(1);
  });

  it("is paid for where it was sent, where it was answered before it could be called off", async () => {
    await poolWithEndpoints(ENDPOINTS);
    const relay = await TestAgent.greeted(RELAY);
    const sent = localCommit(1);
    const grant = await moved(sent);
    await grant.handle.release("hedge-lost");
    relay.reports([openedOf(sent), closedOf(sent)]);
    await until(async () => (await load()).open === 1);
    await until(async () => (await billed()) === 1);
    grant[Symbol.dispose]();
    expect((await load()).inFlight).toEqual([1, 0, 0]);
  });

  it("is paid for once, where its engine had answered before it was closed, and the other answers, too", async () => {
    await poolWithEndpoints(ENDPOINTS);
    const relay = await TestAgent.greeted(RELAY);
    const sent = localCommit(1);
    const grant = await moved(sent);
    relay.reports([openedOf(sent), closedOf(sent), openedBy(grant), closedBy(grant)]);
    await until(async () => (await load()).open === 1);
    await expect.poll(billed).toBe(1);
    grant[Symbol.dispose]();
    expect(await billed()).toBe(1);
  });

  it("counts no more where its Worker has closed it before a relay had it", async () => {
    await poolWithEndpoints(ENDPOINTS);
    const sent = localCommit(1);
    await moved(sent);
    expect((await load()).open).toBe(3);
    await sync({ ends: [{ ticket: sent.ticket, attempt: sent.attempt, how: "cancelled" }] });
    expect((await load()).open).toBe(2);
  });

  it("is granted again to a Worker that has lost the answer, and still called off", async () => {
    await poolWithEndpoints(ENDPOINTS);
    const sent = localCommit(1);
    const first = await moved(sent);
    const again = await ask(sent);
    expect(again).toMatchObject({ ok: true, callsOff: true, ticket: first.ticket });
    expect((await load()).open).toBe(3);
  });

  it("is on record with both attempts", async () => {
    await poolWithEndpoints(ENDPOINTS);
    const relay = await TestAgent.greeted(RELAY);
    const sent = localCommit(1);
    const grant = await moved(sent);
    relay.reports([openedOf(sent), cancelledOf(sent), openedBy(grant), closedBy(grant)]);
    await until(async () => (await load()).open === 1);
    const { explanation } = await poolStub().explain("local-1");
    expect(explanation!.attempts).toMatchObject([
      { attempt: 0, chosen: sent.endpoints, result: { outcome: "cancelled" } },
      { attempt: OTHER_ATTEMPT, chosen: grant.endpoints, result: { outcome: "ok" } },
    ]);
  });

  it("is not sent where it is already, whatever the picker draws", async () => {
    const picker = {
      plugins: [{ type: "weighted-random-picker" }, { type: "queue-scorer" }],
      schedulingProfiles: [
        {
          name: "default",
          plugins: [{ pluginRef: "queue-scorer" }, { pluginRef: "weighted-random-picker" }],
        },
      ],
    };
    const collector = await poolWithEndpoints(2, picker);
    // So many run there that nothing is left as it is; what waits decides, which is as much at both.
    collector.metrics([{ endpoint: 0, fields: [0, 40, 0, 16, 4_000] }]);
    await until(async () => (await poolStub().state()).endpoints[0]!.runningRequests === 40);
    const moves: (string | undefined)[] = [];
    for (let n = 0; n < 12; n++) {
      const answer = await ask(localCommit(n));
      if (answer.ok === true) moves.push(answer.endpoints[0]);
    }
    expect(new Set(moves)).toEqual(new Set([endpoint(2).address]));
  });
});

describe("what was sent and has ended", () => {
  it("stays, by its relay's word that came before", async () => {
    await poolWithEndpoints(ENDPOINTS, FLOW_CONTROL(8));
    const relay = await TestAgent.greeted(RELAY);
    const sent = localCommit(1, { fairnessId: "whose" });
    await occupy(endpoint(1).address);
    relay.reports([openedOf(sent), closedOf(sent)]);
    await until(async () => (await billed()) === 1);
    expect(await ask(sent)).toMatchObject({ ok: "kept" });
    expect((await load()).open).toBe(1);
    expect(await inFlight()).not.toContainEqual(["whose", 1]);
  });

  it("stays where its relay has it", async () => {
    await poolWithEndpoints(ENDPOINTS);
    const relay = await TestAgent.greeted(RELAY);
    const sent = localCommit(1);
    await occupy(endpoint(1).address);
    relay.reports([openedOf(sent)]);
    await until(async () => (await load()).open === 2);
    expect(await ask(sent)).toMatchObject({ ok: "kept" });
    expect(await commits("completed")).toBe(1);
  });

  it("stays where its isolate has given it up", async () => {
    await poolWithEndpoints(ENDPOINTS);
    const sent = localCommit(1);
    const { ticket, attempt } = sent;
    await sync({ ends: [{ ticket, attempt, how: "relay-unreachable" }] });
    expect(await ask(sent)).toMatchObject({ ok: "kept" });
    expect((await load()).open).toBe(0);
  });
});

describe("what an isolate should not say of what it has sent", () => {
  const whole = localCommit(1);
  const fields = Object.keys(whole) as (keyof LocalCommit)[];
  const sound = new Set(["terms", "decidedAgoMs"]);

  it.each(fields.filter((field) => !sound.has(field)))(
    "without a sound %s is refused alone, and counted",
    async (field) => {
      await poolWithEndpoints(2);
      for (const value of [undefined, null, {}])
        expect(await ask({ ...whole, [field]: value } as never, pickRequest("r"))).toMatchObject({
          ok: "kept",
        });
      expect((await load()).open).toBe(0);
      expect(await commits("malformed")).toBe(3);
    },
  );

  it.each([null, 7, "sent", {}])("like %o is refused alone, and counted", async (sent) => {
    await poolWithEndpoints(2);
    expect(await ask(sent as never, pickRequest("r"))).toMatchObject({ ok: "kept" });
    expect((await load()).open).toBe(0);
    expect(await commits("malformed")).toBe(1);
  });

  it.each([undefined, null, {}, { rttMs: "far" }])(
    "with terms like %o throws nothing",
    async (terms) => {
      await poolWithEndpoints(2);
      expect(await ask({ ...whole, terms } as never)).toMatchObject({ ok: "kept" });
    },
  );
});

describe("what was sent to nobody that is known", () => {
  it("is granted one of the pool's", async () => {
    await poolWithEndpoints(2);
    const answer = await ask(localCommit(1, { endpoints: ["10.9.9.9:8000"] }));
    expect(answer).toMatchObject({ ok: true, callsOff: true });
    expect(await sortedLoads()).toEqual([0, 1]);
  });

  it("stays where there is none", async () => {
    await poolWithEndpoints(0);
    expect(await ask(localCommit(1))).toMatchObject({ ok: "kept" });
  });

  it("is refused by an object that is not configured", async () => {
    expect(await ask(localCommit(1))).toMatchObject({ ok: false, reason: "rejected-no-endpoints" });
    await configurePool();
    expect(await ask(localCommit(1))).toMatchObject({ ok: "kept" });
  });
});

describe("where requests wait", () => {
  it("nobody waits for what was sent, and its flow is charged once", async () => {
    await poolWithEndpoints(1, FLOW_CONTROL(1));
    const relay = await TestAgent.greeted(RELAY);
    const first = localCommit(1);
    expect(await ask(first)).toMatchObject({ ok: "kept" });
    const second = localCommit(2, { fairnessId: "other" });
    expect(await ask(second)).toMatchObject({ ok: "kept" });
    expect(await ask(second)).toMatchObject({ ok: "kept" });
    expect(Object.fromEntries(await inFlight())).toEqual({
      acme: 1,
      other: 1,
    });
    relay.reports([openedOf(second), closedOf(second)]);
    await until(async () => (await load()).open === 1);
    expect(await inFlight()).toContainEqual(["acme", 1]);
    expect(await inFlight()).not.toContainEqual(["other", 1]);
  });

  it("what is moved takes two places until the first has ended, and none where there is no second", async () => {
    await poolWithEndpoints(2, FLOW_CONTROL(2));
    const sent = localCommit(1, { fairnessId: "whose" });
    const grant = await moved(sent);
    expect(grant.endpoints[0]).toBe(endpoint(2).address);
    expect(await inFlight()).toContainEqual(["whose", 2]);
    const relay = await TestAgent.greeted(RELAY);
    relay.reports([openedOf(sent), cancelledOf(sent)]);
    await until(async () => (await load()).open === 2);
    expect(await inFlight()).toContainEqual(["whose", 1]);
    await sync({ commits: [localCommit(2)] });
    // There is room for it alone: where it is busy it stays all the same.
    expect(await ask(localCommit(3))).toMatchObject({ ok: "kept" });
    expect((await load()).open).toBe(4);
    expect(await ask(localCommit(4))).toMatchObject({ ok: "kept" });
  });
});
