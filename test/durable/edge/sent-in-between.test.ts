// What happens between a request's being sent and the end of it: objects that are reset or changed, and relays'
// reports in any order.

import { reset, runInDurableObject } from "cloudflare:test";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import type { HeldGrant } from "../../../src/durable/contract.ts";
import type { LocalCommit } from "../../../src/scheduler/edge/contracts.ts";
import {
  configurePool,
  endpoint,
  poolStub,
  poolWithEndpoints,
  TestAgent,
  until,
} from "../pool-client.ts";
import { addressOf, configureShards, connectAgents, shardStub } from "../shards/sharded-pool.ts";
import {
  askAbout,
  billed,
  cancelledOf,
  closedBy,
  localCommit,
  occupy,
  openedBy,
  openedOf,
  sync,
} from "./support.ts";

afterEach(() => reset());

const RUNS = 8;
const RELAY = { role: "relay", agent: "relay-0" } as const;
const WHERE = endpoint(1).address;

const openTickets = async () => (await poolStub().state()).tickets.open;

async function moved(sent: LocalCommit): Promise<HeldGrant> {
  await occupy(WHERE);
  const answer = await askAbout(sent);
  if (answer.ok !== true) throw new Error(JSON.stringify(answer));
  return answer;
}

type Report =
  | "opened"
  | "cancelled"
  | "openedElsewhere"
  | "closedElsewhere"
  | "committed"
  | "asked";
const REPORTS: readonly Report[] = [
  "opened",
  "cancelled",
  "openedElsewhere",
  "closedElsewhere",
  "committed",
  "asked",
];

describe("a request that was called off", () => {
  it("counts nowhere in the end, and is paid for once, in whatever order it is told of", async () => {
    const orders = fc.shuffledSubarray([...REPORTS, ...REPORTS], { minLength: 4 });
    await fc.assert(
      fc
        .asyncProperty(orders, async (order) => {
          await poolWithEndpoints(2);
          const relay = await TestAgent.greeted(RELAY);
          const sent = localCommit(1);
          const grant = await moved(sent);
          const tell: Record<Report, () => unknown> = {
            opened: () => relay.reports([openedOf(sent)]),
            cancelled: () => relay.reports([cancelledOf(sent)]),
            openedElsewhere: () => relay.reports([openedBy(grant)]),
            closedElsewhere: () => relay.reports([closedBy(grant)]),
            committed: () => sync({ commits: [sent] }),
            // A Worker that asks again has lost the answer, and holds what it gets now.
            asked: async () => (await askAbout(sent))[Symbol.dispose]?.(),
          };
          for (const report of order) await tell[report]();
          for (const report of REPORTS.slice(0, 4)) await tell[report]();
          await until(async () => (await openTickets()) === 1);
          await until(async () => (await billed()) === 1);
          grant[Symbol.dispose]();
          const { endpoints } = await poolStub().state();
          expect(endpoints.map((each) => each.inFlightRequests)).toEqual([1, 0]);
        })
        .afterEach(() => reset()),
      { numRuns: RUNS, endOnFailure: true },
    );
  }, 60_000);
});

describe("an object that is asked about what was sent", () => {
  it("keeps it also where it was reset since, and its relay is heard first", async () => {
    await poolWithEndpoints(2);
    const sent = localCommit(1);
    expect(await askAbout(sent)).toMatchObject({ ok: "kept" });
    await runInDurableObject(poolStub(), (_, ctx) => ctx.abort("reset")).catch(() => undefined);
    const relay = await TestAgent.greeted(RELAY);
    relay.reports([openedOf(sent)]);
    await until(async () => (await openTickets()) === 1);
    expect(await askAbout(sent)).toMatchObject({ ok: "kept" });
    expect(await openTickets()).toBe(1);
  });

  it("judges by the configuration that is in force", async () => {
    await poolWithEndpoints(2);
    await occupy(WHERE);
    const scheduler = {
      plugins: [{ type: "queue-scorer" }],
      schedulingProfiles: [{ name: "default", plugins: [{ pluginRef: "queue-scorer" }] }],
    };
    await configurePool(2, 200, scheduler);
    const answer = await askAbout(localCommit(1));
    expect(answer).toMatchObject({ ok: true, callsOff: true });
    (answer as HeldGrant)[Symbol.dispose]();
  });

  it("sends on where it takes no requests any more, and has not taken it", async () => {
    const written = {};
    await configureShards(2, { written, version: 1 });
    const agents = await connectAgents(2, 2);
    await configureShards(1, { written, version: 2, told: 2 });
    const answer = await askAbout(localCommit(1), {}, addressOf(1));
    expect(answer).toMatchObject({ ok: "moved", shards: { count: 1 } });
    answer[Symbol.dispose]?.();
    expect((await shardStub(1).state()).tickets.open).toBe(0);
    agents.forEach((agent) => agent.close());
  });
});
