// A real collector and the objects of a pool, each behind a socket of its own.

import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { startCollector, type Collector } from "../../../src/agents/collector/collector.ts";
import type { Configure } from "../../../src/agents/protocol/messages.ts";
import { metricsSpecificationSchema } from "../../../src/agents/protocol/metrics-specification.ts";
import { PROTOCOL_VERSION } from "../../../src/agents/protocol/version.ts";
import { AgentFrames } from "../../../src/durable/agent-frames.ts";
import { DEFAULT_SPECIFICATION } from "../../../src/scheduler/data-layer/compile.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";
import { captureLogs } from "../support/logs.ts";
import { configureOf, ShardedPool } from "../support/sharded-pool.ts";

const waitFor = (check: () => void) => vi.waitFor(check, { timeout: 15_000 });
const specification = metricsSpecificationSchema.parse(DEFAULT_SPECIFICATION);

let engine: Server;
let scrapes: number;
let waiting: number;
let pool: ShardedPool;
let collector: Collector;
let directory: string;

const configure = (count: number, index: number): Configure => ({
  ...configureOf({ count }, index),
  specification,
});

/** What an object makes of all that it has heard: the real decoder refuses what is out of order. */
function told(shard: number) {
  const frames = new AgentFrames(PROTOCOL_VERSION);
  const values: number[] = [];
  let names: string[] = [];
  for (const bytes of pool.objects[shard]!.rawFrames) {
    const decoded = frames.decode(bytes);
    if (!decoded.ok) throw new Error(decoded.error);
    const { frame } = decoded;
    if (frame.kind === "metrics") for (const row of frame.rows) values.push(row.values[0]!);
    if (frame.kind === "membership") names = frame.endpoints.map(({ id }) => id);
  }
  return { values, names };
}

const countOf = (shard: number, kind: string) =>
  pool.objects[shard]!.frames.filter((frame) => frame.kind === kind).length;

beforeEach(async () => {
  scrapes = 0;
  waiting = 3;
  engine = createServer((_request, response) => {
    scrapes++;
    response.end(`vllm:num_requests_waiting{engine="0"} ${waiting}\n`);
  }).listen(0, "127.0.0.1");
  await once(engine, "listening");
  pool = await ShardedPool.start(3);
  for (const [index, object] of pool.objects.entries()) object.configure = configure(3, index);
  directory = await mkdtemp(join(tmpdir(), "fairlead-shards-"));
  const endpointsPath = join(directory, "endpoints.yaml");
  const { port } = engine.address() as AddressInfo;
  const listed = [{ name: "e", address: "127.0.0.1", port }];
  await writeFile(endpointsPath, JSON.stringify({ endpoints: listed }));
  collector = await startCollector({
    endpointsPath,
    pool: "p",
    agent: "c",
    connect: pool.url,
    token: "token",
    logger: captureLogs().logger,
    registry: new MetricRegistry(),
    sessionTiming: { retryBaseMs: 10, retryCapMs: 50 },
  });
});
afterEach(async () => {
  await collector.close();
  await pool.close();
  engine.closeAllConnections();
  engine.close();
  await rm(directory, { recursive: true });
});

describe("a collector of a pool with several objects", () => {
  it("tells each all endpoints and what they say, of which it asks once", async () => {
    for (const shard of [0, 1, 2]) {
      await waitFor(() => expect(told(shard)).toMatchObject({ names: ["default/e"] }));
      await waitFor(() => expect(told(shard).values).toContain(3));
    }
    waiting = 7;
    for (const shard of [0, 1, 2]) await waitFor(() => expect(told(shard).values).toContain(7));
    // Every row of one object is of one scrape.
    const before = { scrapes, rows: told(1).values.length };
    await waitFor(() => expect(told(1).values.length).toBeGreaterThan(before.rows + 4));
    expect(scrapes - before.scrapes).toBeLessThan(2 * (told(1).values.length - before.rows));
    expect(collector.isHealthy).toBe(true);
  });

  it("says everything again to one without a word more to the others", async () => {
    for (const shard of [0, 1, 2]) await waitFor(() => expect(told(shard).values).toContain(3));
    const before = [0, 1, 2].map((shard) => countOf(shard, "membership"));
    pool.objects[1]!.send({ t: "resync", reason: "gap" });
    await waitFor(() => expect(countOf(1, "membership")).toBe(before[1]! + 1));
    pool.objects[2]!.socket!.terminate();
    await waitFor(() => expect(countOf(2, "membership")).toBe(before[2]! + 1));
    await waitFor(() => expect(pool.objects[1]!.rows.at(-1)!.mask).toBe(0));
    expect([0, 1].map((shard) => countOf(shard, "membership"))).toEqual([
      before[0],
      before[1]! + 1,
    ]);
  });

  it("is not well while one of them does not hear it, and says so", async () => {
    for (const shard of [0, 1, 2]) await waitFor(() => expect(told(shard).values).toContain(3));
    pool.objects[2]!.isWelcoming = false;
    pool.objects[2]!.socket!.terminate();
    await waitFor(() => expect(collector.isHealthy).toBe(false));
    expect(collector.problem).toBe("not connected to all 3 objects of the pool");
    const rows = told(0).values.length;
    await waitFor(() => expect(told(0).values.length).toBeGreaterThan(rows + 3));
    pool.objects[2]!.isWelcoming = true;
    pool.objects[2]!.socket!.terminate();
    await waitFor(() => expect(collector.isHealthy).toBe(true));
  });

  it("tells one that comes later, and goes on when the first one is away", async () => {
    await waitFor(() => expect(told(2).values).toContain(3));
    pool.objects[0]!.isWelcoming = false;
    pool.objects[0]!.socket!.terminate();
    waiting = 9;
    await waitFor(() => expect(told(1).values).toContain(9));
    expect(told(0).values).not.toContain(9);
  });
});
