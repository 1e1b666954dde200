// A pool of several real objects with flow control, each with a collector of its own, and Workers that go to
// the object they are sent to.

import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import type {
  HeldGrant,
  HeldWait,
  MovedPick,
  NumberedPlace,
  PickRefusal,
  PickRequest,
} from "../../../src/durable/contract.ts";
import { poolAddress } from "../../../src/config/pool-address.ts";
import { loadSchedulerConfig } from "../../../src/scheduler/config/load.ts";
import { prepareShards, shardOf } from "../../../src/scheduler/shards/shard-of.ts";
import type { ShardMap } from "../../../src/scheduler/shards/contracts.ts";
import { endpoint, POOL, TestAgent, until } from "../pool-client.ts";

type Answer = HeldGrant | PickRefusal | HeldWait | NumberedPlace | MovedPick;

export const addressOf = (shard: number) => poolAddress({ name: POOL }, shard);
export const shardStub = (shard: number) => env.POOL.getByName(addressOf(shard));

export const upTo = (maxConcurrency: number) => ({
  featureGates: ["flowControl"],
  plugins: [{ type: "concurrency-detector", parameters: { maxConcurrency } }],
  flowControl: { saturationDetector: { pluginRef: "concurrency-detector" } },
});

/** As the directory does it: also those that are to go. */
export async function configureShards(
  count: number,
  { written, version, told = count }: { written: object; version: number; told?: number },
): Promise<void> {
  const { config, issues } = loadSchedulerConfig(written, { allowExperimentalPlugins: true });
  if (config === undefined) throw new Error(JSON.stringify(issues));
  for (let index = 0; index < told; index++) {
    const shard = index === 0 && count === 1 ? {} : { shard: { index, count } };
    const pool = { name: POOL, scrapeIntervalMs: 200, scheduler: config, ...shard };
    await shardStub(index).configure(pool, version);
  }
}

/** All shards know these endpoints. */
export async function connectAgents(shards: number, endpoints: number): Promise<TestAgent[]> {
  const records = Array.from({ length: endpoints }, (_, i) => endpoint(i + 1));
  return Promise.all(
    Array.from({ length: shards }, async (_, shard) => {
      const agent = await TestAgent.connect(
        { pool: POOL, ...(shard === 0 ? {} : { shard }) },
        addressOf(shard),
      );
      agent.hello();
      await agent.received("configure");
      agent.membership(records);
      agent.metrics(records.map((_record, i) => ({ endpoint: i, fields: [0, 0, 0, 16, 4_000] })));
      await until(async () => (await shardStub(shard).state()).endpoints.length === endpoints);
      return agent;
    }),
  );
}

export async function askShard(shard: number, request: PickRequest): Promise<Answer> {
  return (await env.POOLS.pick(addressOf(shard), request)) as unknown as Answer;
}

/** Requests under way in each shard, as its own state says. */
export async function openTickets(shards: number): Promise<number[]> {
  const states = Array.from({ length: shards }, (_, shard) => shardStub(shard).state());
  return (await Promise.all(states)).map(({ tickets }) => tickets.open);
}

export async function metricOf(shard: number, name: string): Promise<number> {
  const text = await shardStub(shard).metrics();
  const line = text.split("\n").find((each) => each.startsWith(`${name} `));
  return line === undefined ? Number.NaN : Number(line.split(" ")[1]);
}

/** The lead grants credit to it. */
export const isTogether = async (shard: number) =>
  (await metricOf(shard, "fairlead_shards_alone")) === 0;

export const loseMemory = (shard: number) =>
  runInDurableObject(shardStub(shard), (_, ctx) => ctx.abort("reset")).catch(() => undefined);

/** A Worker that serves a request: it waits, and goes where it is sent, until it has a grant or is refused. */
export async function serve(
  request: PickRequest,
  map: ShardMap,
  seen: { moved: number } = { moved: 0 },
): Promise<HeldGrant | PickRefusal> {
  let shards = prepareShards(map);
  for (;;) {
    const shard = shardOf(request.request.keys, shards, 1);
    let answer: Answer;
    try {
      answer = await askShard(shard, request);
      if (answer.ok === "queued" && "handle" in answer) {
        const wait: HeldWait = answer;
        answer = (await wait.handle.wait()) as unknown as Answer;
        wait[Symbol.dispose]();
      }
    } catch {
      // The object was reset: the Worker asks again with the same place.
      continue;
    }
    if (answer.ok === "moved") {
      seen.moved += 1;
      shards = prepareShards(answer.shards);
    } else if (answer.ok === "queued") {
      await scheduler.wait(Math.min(50, (answer as NumberedPlace).askAgainMs));
    } else return answer;
  }
}
