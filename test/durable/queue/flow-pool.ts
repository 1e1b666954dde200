// A pool with flow control, and picks that may wait in it, as a Worker makes them.

import { env } from "cloudflare:workers";
import type {
  HeldGrant,
  HeldWait,
  NumberedPlace,
  PickFlow,
  PickRefusal,
  PickRequest,
} from "../../../src/durable/contract.ts";
import { loadSchedulerConfig } from "../../../src/scheduler/config/load.ts";
import { endpoint, POOL, pickRequest, poolStub, TestAgent, until } from "../pool-client.ts";

export const ONE_AT_A_TIME = {
  featureGates: ["flowControl"],
  plugins: [{ type: "concurrency-detector", parameters: { maxConcurrency: 1 } }],
  flowControl: { saturationDetector: { pluginRef: "concurrency-detector" } },
};

export async function configureFlowPool(
  written: object = ONE_AT_A_TIME,
  version = 1,
  objectivePriorities: readonly number[] = [],
): Promise<void> {
  const { config, issues } = loadSchedulerConfig(written, { allowExperimentalPlugins: true });
  if (config === undefined) throw new Error(JSON.stringify(issues));
  const pool = { name: POOL, scrapeIntervalMs: 200, scheduler: config, objectivePriorities };
  await poolStub().configure(pool, version);
}

export async function flowPool(count = 1, written: object = ONE_AT_A_TIME): Promise<TestAgent> {
  await configureFlowPool(written);
  const collector = await TestAgent.greeted();
  await addEndpoints(collector, count);
  return collector;
}

export async function addEndpoints(collector: TestAgent, count: number): Promise<void> {
  const endpoints = Array.from({ length: count }, (_, i) => endpoint(i + 1));
  collector.membership(endpoints);
  collector.metrics(endpoints.map((_, i) => ({ endpoint: i, fields: [0, 0, 0, 16, 4_000] })));
  await until(async () => (await poolStub().state()).endpoints.length === count);
}

interface Shape extends Partial<PickFlow> {
  readonly priority?: number;
  readonly attempt?: number;
  readonly keys?: Uint32Array;
}

export function flowPick(requestId: string, shape: Shape = {}): PickRequest {
  const { priority = 0, attempt = 0, keys, ...flow } = shape;
  return {
    ...pickRequest(requestId, { priority, ...(keys && { keys }) }),
    attempt,
    flow: {
      fairnessId: "acme",
      weight: 1,
      receivedAtMs: Date.now(),
      waitsForEndpoints: true,
      ...flow,
    },
  };
}

export type Answer = HeldGrant | PickRefusal | HeldWait | NumberedPlace;

export async function ask(request: PickRequest): Promise<Answer> {
  return (await env.POOLS.pick(POOL, request)) as unknown as Answer;
}

export async function granted(request: PickRequest): Promise<HeldGrant> {
  const answer = await ask(request);
  if (answer.ok !== true) throw new Error(`no grant: ${JSON.stringify(answer)}`);
  return answer;
}

export async function waiting(request: PickRequest): Promise<HeldWait> {
  const answer = await ask(request);
  if (answer.ok !== "queued" || !("handle" in answer))
    throw new Error(`no wait: ${JSON.stringify(answer)}`);
  return answer;
}

/** A grant that may have to be waited for: an object that has just started knows nothing of its engines. */
export async function served(request: PickRequest): Promise<HeldGrant> {
  const answer = await ask(request);
  if (answer.ok !== "queued" || !("handle" in answer)) return answer as HeldGrant;
  const grant = await answer.handle.wait();
  answer[Symbol.dispose]();
  return grant as HeldGrant;
}

export async function queueState() {
  const state = await poolStub().queueState();
  if (state === null) throw new Error("flow control is off");
  return state;
}
