// Records of decisions that isolates have taken, as a pool's object keeps and shows them.

import { reset } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import {
  type LocalRecord,
  RECORDS_A_SYNC_MAX,
} from "../../../src/scheduler/decisions/packed-record.ts";
import { replayAttempt } from "../../../src/scheduler/decisions/replay.ts";
import { parseReplayable } from "../../../src/scheduler/decisions/replay-document.ts";
import { POOL, poolStub, poolWithEndpoints, TestAgent, until } from "../pool-client.ts";
import { SmallPool } from "./small-pool.ts";
import { closedOf, localCommit, openedOf, sync } from "./support.ts";

afterEach(() => reset());

/** Of a pick among two endpoints of an isolate's replica, by the configuration that the object has. */
const recordOf = (requestId: string) => new SmallPool(2).record(requestId);

async function explained(requestId: string) {
  const { explanation } = await env.POOLS.explain(POOL, requestId);
  return explanation!.attempts[0]!;
}

async function recorded(outcome: string): Promise<number> {
  const text = await poolStub().metrics();
  const found = new RegExp(`^fairlead_edge_records_total\\{outcome="${outcome}"\\} (\\d+)`, "m");
  return Number(found.exec(text)?.[1] ?? 0);
}

describe("the record of a decision at the edge", () => {
  it("comes with what was decided, and shows whom the isolate considered, and how it went", async () => {
    await poolWithEndpoints(2);
    const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    const commit = localCommit(1);
    await sync({ commits: [commit], records: [recordOf(commit.requestId)] });
    const attempt = await explained(commit.requestId);
    expect(attempt.candidates.map(({ address }) => address)).toEqual(
      expect.arrayContaining(["10.0.0.1:8000", "10.0.0.2:8000"]),
    );
    const document = { requestId: commit.requestId, pool: POOL, attempts: [attempt] };
    const parsed = parseReplayable(JSON.parse(JSON.stringify(document)));
    expect(parsed.ok && replayAttempt(parsed.value.attempts[0]!).isSame).toBe(true);
    relay.reports([openedOf(commit), closedOf(commit)]);
    const result = await until(async () => (await explained(commit.requestId)).result);
    expect(result).toMatchObject({ endpoint: commit.endpoints[0] });
    expect(await recorded("kept")).toBe(1);
  });

  it("may come later than its decision, and not before", async () => {
    await poolWithEndpoints(2);
    const commit = localCommit(1);
    const records = [recordOf(commit.requestId)];
    await sync({ records });
    expect(await recorded("unknown")).toBe(1);
    await sync({ commits: [commit] });
    expect(await explained(commit.requestId)).toMatchObject({ candidateCount: 0 });
    await sync({ records });
    expect(await explained(commit.requestId)).toMatchObject({ candidateCount: 2 });
  });

  it("is not kept where it is damaged or of another configuration, and the sync is as good", async () => {
    await poolWithEndpoints(2);
    const ids = [1, 2, 3, 4, 5].map((n) => localCommit(n).requestId);
    const [whole, cut, other, newer, nothing] = ids.map((id) => recordOf(id)) as LocalRecord[];
    const records = [
      whole!,
      { ...cut!, numbers: cut!.numbers.slice(16) },
      { ...other!, schedulerHash: "?" },
      { ...newer!, layout: 7 },
      { ...nothing!, numbers: undefined as unknown as Uint8Array },
      undefined as unknown as LocalRecord,
    ];
    const commits = ids.map((_, n) => localCommit(n + 1));
    expect((await sync({ commits, records })).snapshot).toBeDefined();
    expect(await recorded("kept")).toBe(2);
    expect(await recorded("malformed")).toBe(3);
    expect(await recorded("other-configuration")).toBe(1);
    const { decisions } = await poolStub().decisions({ agoMs: 60_000, limit: 100 });
    expect(decisions.map(({ attempt }) => attempt.candidateCount)).toEqual([0, 0, 0, 0, 2]);
    for (const id of ids)
      expect(await explained(id)).toMatchObject({ decided: { where: "local" } });
  });

  it("is not heard beyond so many a call", async () => {
    await poolWithEndpoints(2);
    const commits = Array.from({ length: RECORDS_A_SYNC_MAX + 2 }, (_, n) => localCommit(n + 1));
    await sync({ commits, records: commits.map(({ requestId }) => recordOf(requestId)) });
    expect(await recorded("kept")).toBe(RECORDS_A_SYNC_MAX);
  });
});
