// One pool spread over four objects, beside the same pool with one object that nobody could have: in reality a
// thread is too little for it at that rate, here each gets the same process to itself.
//
//   bench ─► workerd ( driver ══ batches ══► PoolObject × 4 | PoolObject )     no HTTP is measured
//               ▲ │
//   collectors ─┘ └─ what runs at 64 endpoints ─► their metrics ─► collectors
//
// Every request has the same first blocks, as chat templates make it, so that nothing is spread at all until
// the leading object has looked deeper. Conversations of some turns go on; endpoints' caches are kept by the
// driver, and the hit rate is that of its caches, whatever the objects believe. Both pools get the
// same requests, at the same rate, one pool after the other, and of both the same ones count. At last the same on a time
// of its own, without workerd, where the machine has no part in it.

import { build } from "esbuild";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "undici";
import { WORKER_MODULE } from "../src/cli/up/bundle.ts";
import { ADMIN_KEY_VARIABLE, workerdConfig } from "../src/cli/workerd-config.ts";
import { start, type Started } from "./child.ts";
import { MODEL } from "./conversation.ts";
import type { Measurement } from "./measure.ts";
import { cpuMs } from "./proc.ts";
import type { DriveOrder, DriveReport } from "./shards/driver.ts";
import { Engines, RUNNING_PATH } from "./shards/engines.ts";
import { driveModel } from "./shards/model.ts";

export const SHARDS_NAME = "shards";
const SHARDS = 4;
const ENDPOINTS = 64;
const SEED = 7;
const GUARD = fileURLToPath(new URL("../src/cli/up/guard.ts", import.meta.url));
const AGENTS = fileURLToPath(new URL("../src/agents/main.ts", import.meta.url));
const WORKER = fileURLToPath(new URL("../src/worker/index.ts", import.meta.url));
const DRIVER = fileURLToPath(new URL("shards/driver.ts", import.meta.url));
const BATCH = fileURLToPath(new URL("shards/batch.ts", import.meta.url));
const DRIVE_PATH = "/bench/drive";
const ADMIN_KEY = "bench-key-of-the-administrator";
const AGENT_TOKEN = "bench-token-of-the-agents";
const START_MS_MAX = 20_000;
/** More than a drive can take. */
const DRIVE_MS_MAX = 180_000;

export interface ShardsBudget {
  readonly perSecond: number;
  /** Splits are planned every ten seconds. */
  readonly warmUpMs: number;
  readonly measureMs: number;
  readonly cacheBlocks: number;
}

const BUDGET: ShardsBudget = {
  perSecond: 2_200,
  warmUpMs: 20_000,
  measureMs: 8_000,
  cacheBlocks: 3_000,
};

interface DrivenPool {
  readonly name: string;
  readonly shards: number;
}

const MANY: DrivenPool = { name: "many", shards: SHARDS };
const ONE: DrivenPool = { name: "one", shards: 1 };

interface Driven extends DriveReport {
  readonly cpuMs: number;
}

export async function* measureShards(budget = BUDGET): AsyncGenerator<Measurement> {
  const dir = mkdtempSync(join(tmpdir(), "bench-shards-"));
  const started: Started[] = [];
  const socketPath = join(dir, "workerd.sock");
  const engines = new Engines(socketPath);
  const client = new Client("http://bench.invalid", {
    socketPath,
    headersTimeout: DRIVE_MS_MAX,
    bodyTimeout: DRIVE_MS_MAX,
  });
  try {
    const workerd = await startWorkerd(started, dir, socketPath);
    const url = await startFront(started, socketPath);
    const admin = new Admin(client);
    await admin.configure([MANY, ONE]);
    const driven: Driven[] = [];
    let { warmUpMs } = budget;
    for (const pool of [MANY, ONE]) {
      // Only of the pool that is driven: what the other's says would be in its figures.
      const collector = startCollector(pool.name, engines.port, url);
      started.push(collector);
      const each = await drive(admin, pool, { budget: { ...budget, warmUpMs }, pids: [workerd] });
      driven.push(each);
      warmUpMs = each.measuredFromMs;
      await collector.stop();
    }
    const [many, one] = driven as [Driven, Driven];
    yield* figures(many, one);
  } finally {
    // It waits for nothing, also where a drive was given up; workerd ends when nobody is connected any more.
    await client.destroy();
    await Promise.all(started.map((each) => each.stop()));
    await engines.stop();
  }
  yield* modelled(budget);
}

async function drive(
  admin: Admin,
  pool: DrivenPool,
  { budget, pids }: { readonly budget: ShardsBudget; readonly pids: readonly number[] },
): Promise<Driven> {
  await admin.untilFresh(pool);
  const { name, shards } = pool;
  const order: DriveOrder = {
    ...budget,
    objects: Array.from({ length: shards }, (_, i) => (i === 0 ? name : `${name}~${i}`)),
    model: MODEL,
    seed: SEED,
    awaitsSplits: shards > 1,
  };
  const before = cpuMs(pids);
  const report = (await admin.call("POST", DRIVE_PATH, order)) as DriveReport;
  const share = report.seconds / report.allSeconds;
  return { ...report, cpuMs: (cpuMs(pids) - before) * share };
}

/** Both on a time of their own. */
async function* modelled(budget: ShardsBudget): AsyncGenerator<Measurement> {
  const order = { ...budget, endpoints: ENDPOINTS, seed: SEED };
  const many = await driveModel({ ...order, shards: SHARDS, awaitsSplits: true });
  const warmUpMs = many.measuredFromMs;
  const one = await driveModel({ ...order, warmUpMs, shards: 1, awaitsSplits: false });
  const against = "one object";
  for (const [metric, unit, of] of ENDPOINT_METRICS) {
    const ratio = of(many) / of(one);
    yield {
      bench: SHARDS_NAME,
      metric: `${metric}_modelled`,
      value: of(many),
      unit,
      ratio,
      against,
    };
  }
}

/** What comes of decisions at endpoints. */
const ENDPOINT_METRICS: readonly [string, string, (report: DriveReport) => number][] = [
  ["hit_rate", "", ({ cachedTokens, promptTokens }) => cachedTokens / promptTokens],
  ["ttft_p90", "ms", ({ ttftP90Ms }) => ttftP90Ms],
];

function* figures(many: Driven, one: Driven): Generator<Measurement> {
  const alone = { bench: SHARDS_NAME, ratio: null, against: null };
  const against = "one object";
  const compare = (metric: string, unit: string, of: (driven: Driven) => number) => {
    const value = of(many);
    return { bench: SHARDS_NAME, metric, value, unit, ratio: value / of(one), against };
  };
  const all = many.perObject.reduce((sum, count) => sum + count, 0);
  for (const [metric, unit, of] of ENDPOINT_METRICS) yield compare(metric, unit, of);
  yield compare("decisions_per_s", "1/s", (driven) => driven.decisions / driven.seconds);
  yield compare("cpu_us_per_decision", "us", (driven) => (1_000 * driven.cpuMs) / driven.decisions);
  const largest = Math.max(...many.perObject) / all;
  yield { ...alone, metric: "largest_share", value: largest, unit: "" };
  yield { ...alone, metric: "splits", value: many.splits, unit: "" };
  const refusals = [many, one].flatMap(({ refused }) => Object.values(refused));
  const refused = refusals.reduce((sum, count) => sum + count, 0);
  yield { ...alone, metric: "refused", value: refused, unit: "" };
}

/** Fairlead's Worker and objects, and the driver. Gives the process's id. */
async function startWorkerd(started: Started[], dir: string, socketPath: string): Promise<number> {
  const bundleFile = "worker.js";
  await build({
    ...WORKER_MODULE,
    stdin: { contents: entry(), resolveDir: dir, loader: "ts" },
    outfile: join(dir, bundleFile),
  });
  const storageDir = join(dir, "storage");
  mkdirSync(storageDir);
  const config = join(dir, "workerd.capnp");
  writeFileSync(config, workerdConfig({ socketPath, bundleFile, storageDir }));
  const { default: binary } = createRequire(import.meta.url)("workerd") as { default: string };
  const guard = start(dir, [GUARD, binary, "serve", config], { [ADMIN_KEY_VARIABLE]: ADMIN_KEY });
  started.push(guard);
  return ((await guard.ready) as { pid: number }).pid;
}

function entry(): string {
  const worker = JSON.stringify(WORKER);
  return `
export { Control, DirectoryObject, Pools, SettingsObject } from ${worker};
import worker, { PoolObject as RealObject } from ${worker};
import { Batches } from ${JSON.stringify(BATCH)};
import { Driver } from ${JSON.stringify(DRIVER)};
export class PoolObject extends RealObject {
  #batches = new Batches((request) => this.pick(request));
  drive(batch) {
    return this.#batches.take(batch);
  }
}
let driver;
export default {
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    if (pathname === "${RUNNING_PATH}") return Response.json(Object.fromEntries(driver?.running ?? []));
    if (pathname !== "${DRIVE_PATH}") return worker.fetch(request, env, ctx);
    driver = new Driver(env, await request.json());
    return Response.json(await driver.run());
  },
};
`;
}

/** Agents connect by TCP. */
async function startFront(started: Started[], socketPath: string): Promise<string> {
  const flags = ["--listen", "127.0.0.1:0", "--upstream", `unix:${socketPath}`];
  const front = start(mkdtempSync(join(tmpdir(), "bench-front-")), [
    AGENTS,
    "front",
    ...flags,
    "--exit-with-parent",
  ]);
  started.push(front);
  const { port } = (await front.ready) as { port: number };
  return `http://127.0.0.1:${port}`;
}

function startCollector(pool: string, port: number, url: string): Started {
  const dir = mkdtempSync(join(tmpdir(), "bench-collector-"));
  const file = join(dir, "endpoints.json");
  const endpoints = Array.from({ length: ENDPOINTS }, (_, i) => ({
    name: `engine-${i}`,
    address: `127.0.0.${i + 1}`,
    port,
  }));
  writeFileSync(file, JSON.stringify({ endpoints }));
  const flags = ["--pool", pool, "--connect", url, "--endpoints", file, "--exit-with-parent"];
  return start(dir, [AGENTS, "collector", ...flags], { FAIRLEAD_AGENT_TOKEN: AGENT_TOKEN });
}

class Admin {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  async call(method: "GET" | "POST" | "PUT", path: string, body?: unknown): Promise<unknown> {
    const answer = await this.#client.request({
      method,
      path,
      headers: { authorization: `Bearer ${ADMIN_KEY}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.body.text();
    if (answer.statusCode >= 300)
      throw new Error(`${path} answered ${answer.statusCode}: ${text.slice(0, 200)}`);
    return JSON.parse(text);
  }

  async configure(pools: readonly DrivenPool[]): Promise<void> {
    const relays = [
      { url: "http://127.0.0.1:1", keys: [{ id: "k1", secret: "bench-secret-of-the-relay" }] },
    ];
    const inCommon = { region: "local", models: [MODEL], agentToken: AGENT_TOKEN, relays };
    await until("workerd answers", async () => {
      const document = {
        version: 1,
        pools: pools.map((pool) => ({ ...pool, ...inCommon })),
        tenants: [{ id: "bench", keys: ["bench-key-of-the-tenant"] }],
      };
      await this.call("PUT", "/admin/v1/config", document);
      return true;
    });
  }

  /** Every endpoint has been heard of, at all of the pool's objects. */
  async untilFresh({ name }: DrivenPool): Promise<void> {
    await until(`pool ${name} is fresh`, async () => {
      const state = (await this.call("GET", `/admin/v1/pools/${name}`)) as {
        endpoints: { id: string; sampleAgeMs: number | null }[];
      };
      const { endpoints } = state;
      return endpoints.length === ENDPOINTS && endpoints.every((each) => each.sampleAgeMs !== null);
    });
  }
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + START_MS_MAX;
  let last: unknown;
  while (performance.now() < deadlineMs) {
    try {
      if (await isSo()) return;
    } catch (error) {
      last = error;
    }
    await sleep(100);
  }
  throw new Error(`not in ${START_MS_MAX} ms: ${what}`, { cause: last });
}
