// What an object that was killed learns back from its relays: real objects, aborted.

import { abortAllDurableObjects, reset, runInDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, it } from "vitest";
import type { PickGrant, PickResult } from "../../../src/durable/contract.ts";
import { PoolStorage, type UsageTotals } from "../../../src/durable/pool-storage.ts";
import type {
  TicketClosed,
  TicketOpened,
  TicketReport,
} from "../../../src/agents/protocol/messages.ts";
import {
  closed,
  opened,
  pickRequest,
  poolStub,
  poolWithEndpoints,
  TestAgent,
  until,
  TestWorker,
} from "../pool-client.ts";

afterEach(() => reset());

const RELAY = { role: "relay", agent: "relay-0", epoch: "relay-epoch" } as const;
const SUBJECT = { tenant: "acme", model: "m" };

const state = () => poolStub().state();
const load = async () => {
  const { endpoints } = await state();
  return [
    endpoints.reduce((sum, e) => sum + e.inFlightRequests, 0),
    endpoints.reduce((sum, e) => sum + e.inFlightTokens, 0),
  ];
};
const storage = <T>(read: (stored: PoolStorage) => T) =>
  runInDurableObject(poolStub(), (_, ctx) => read(new PoolStorage(ctx.storage)));
const usage = () => storage((stored) => stored.usage());
/** Waits until usage is written: `requests` of them. */
const settled = (requests: number) =>
  until(async (): Promise<UsageTotals | undefined> => {
    const [row] = await usage();
    return row?.requests === requests ? row : undefined;
  });

async function pick(requestId: string): Promise<PickGrant> {
  const worker = new TestWorker();
  const result: PickResult = await worker.pick(pickRequest(requestId));
  if (!result.ok) throw new Error(result.detail);
  return result;
}

/** As a relay of this version says it. */
function named(report: TicketOpened | TicketClosed, requestId: string): TicketReport {
  return { ...report, requestId, ...SUBJECT };
}

async function killObject(): Promise<void> {
  const { objectEpoch } = await state();
  await abortAllDurableObjects();
  expect((await state()).objectEpoch).not.toBe(objectEpoch);
}

describe("an object that was killed", () => {
  it("has the load of open tickets back, and settles each by its report", async () => {
    await poolWithEndpoints(2);
    const relay = await TestAgent.greeted(RELAY);
    const [one, two, three] = [await pick("r1"), await pick("r2"), await pick("r3")];
    relay.reports([named(opened(one), "r1"), named(opened(two), "r2")]);
    await relay.received("ack");
    const before = await load();
    await killObject();
    expect(await load()).toEqual([0, 0]);

    const again = await TestAgent.greeted(RELAY);
    // The third ticket reached its relay only after the object was gone.
    again.reports(
      [named(opened(three), "r3"), named(opened(one), "r1"), named(opened(two), "r2")],
      { oldest: 3, first: 3 },
    );
    await until(async () => (await load())[0] === 3);
    expect(await load()).toEqual(before);
    again.reports([named(closed(two), "r2"), named(closed(one), "r1"), named(closed(three), "r3")]);
    expect(await settled(3)).toMatchObject({
      ...SUBJECT,
      estimatedRequests: 0,
      promptTokens: 3_900,
    });
    expect(await load()).toEqual([0, 0]);
    expect((await state()).tickets).toEqual({ open: 0, unsettled: 0 });
  });

  it("settles what it first hears of at its end", async () => {
    await poolWithEndpoints(1);
    const grant = await pick("r1");
    await killObject();
    const relay = await TestAgent.greeted(RELAY);
    relay.reports([named(closed(grant), "r1")]);
    expect(await settled(1)).toMatchObject({ ...SUBJECT, completionTokens: 90 });
    expect(await poolStub().metrics()).toContain(
      'fairlead_tickets_restored_total{outcome="closed"} 1',
    );
  });

  it("counts nothing twice that was durable when it died", async () => {
    await poolWithEndpoints(1);
    const relay = await TestAgent.greeted(RELAY);
    const grant = await pick("r1");
    const reports = [named(opened(grant), "r1"), named(closed(grant), "r1")];
    relay.reports(reports);
    await settled(1);
    await killObject();
    // A relay that has not read the acknowledgement, and does not wait for the welcome's.
    const again = await TestAgent.greeted(RELAY);
    expect(await again.received("welcome")).toMatchObject({ ackedReport: 2 });
    again.reports(reports, { oldest: 1, first: 1 });
    const next = await pick("r2");
    again.reports([named(closed(next), "r2")]);
    expect(await settled(2)).toMatchObject({ requests: 2 });
    expect(await load()).toEqual([0, 0]);
  });

  it("counts once what was not durable when it died", async () => {
    await poolWithEndpoints(1);
    const relay = await TestAgent.greeted(RELAY);
    const grant = await pick("r1");
    relay.reports([named(closed(grant), "r1")]);
    await until(async () => (await state()).tickets.open === 0);
    const written = await usage();
    await killObject();
    const again = await TestAgent.greeted(RELAY);
    const { ackedReport } = await again.received("welcome");
    expect(ackedReport).toBe(written.length);
    again.reports([named(closed(grant), "r1")], { oldest: 1, first: 1 });
    const next = await pick("r2");
    again.reports([named(closed(next), "r2")]);
    expect(await settled(2)).toMatchObject({ requests: 2 });
  });

  it("ignores a late report of what it has settled by estimate", async () => {
    await poolWithEndpoints(1);
    const grant = await pick("r1");
    await storage((stored) =>
      stored.settle({ usage: [], agents: [], tickets: [grant.ticket] }, Date.now()),
    );
    await killObject();
    const relay = await TestAgent.greeted(RELAY);
    relay.reports([named(opened(grant), "r1"), named(closed(grant), "r1")]);
    expect(await relay.received("ack")).toMatchObject({ report: 2 });
    expect([await load(), await usage()]).toEqual([[0, 0], []]);
  });

  it("ignores a relay of version 1, which does not say whose tickets it has", async () => {
    await poolWithEndpoints(1);
    const grant = await pick("r1");
    await killObject();
    const relay = await TestAgent.greeted({ ...RELAY, v: 1 });
    relay.reports([opened(grant), closed(grant)]);
    expect(await relay.received("ack")).toMatchObject({ seq: 1 });
    expect([await load(), await usage()]).toEqual([[0, 0], []]);
  });
});
