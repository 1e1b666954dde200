// A pool whose queue can be filled, and stays full for as long as the engine holds what it was sent.
//
//   priority 10   passes whatever waits below: what is measured beside a full queue
//   priority 0    is held back from an eighth of what the pool takes: OCCUPANTS in flight, all others wait

import { Client } from "undici";
import type { PoolState, QueueState } from "../../src/durable/state.ts";
import { FLOW_CONTROL_METRIC } from "../../src/telemetry/flow-control-names.ts";
import { type Stack, startStack } from "../subjects.ts";

const POOL = "bench";
const CONCURRENCY_MAX = 64;
/** In flight at which those that wait are held back. */
export const OCCUPANTS = CONCURRENCY_MAX / 8;
const FLOWS = 16;
/** A gateway's: it says whose each request is, and may step back from its priority. */
const TENANT = { priority: 10, trustedHop: true };
const OBJECTIVES = [
  { name: "passing", priority: TENANT.priority },
  { name: "waiting", priority: 0 },
];
/** For the bare Worker: to be held. Nobody else looks at it. */
const HOLD_HEADER = "x-bench-hold";
const ANSWER_MS_MAX = 60_000;
const HELD_PATH = "/bench/held";

/** Headers of the `index`-th request that is to wait, with either subject. */
export function waitingHeaders(index: number): Readonly<Record<string, string>> {
  return {
    [HOLD_HEADER]: "1",
    "x-llm-d-inference-objective": "waiting",
    "x-llm-d-inference-fairness-id": `flow-${index % FLOWS}`,
  };
}

export function startQueueStack(bodies: readonly string[], waitingMax: number): Promise<Stack> {
  const pool = {
    objectives: OBJECTIVES,
    // What waits, waits in the object.
    decide: "consult",
    allowExperimentalPlugins: true,
    scheduler: scheduler(waitingMax),
  };
  return startStack(bodies, { pool, tenant: TENANT, bareWorker: holdingWorker });
}

/** Our default profile, with flow control. Nobody's time in the queue ends. */
function scheduler(waitingMax: number): unknown {
  const profile = ["ejection-filter", "metrics-freshness-filter", "latency-cost-scorer"];
  const detector = "concurrency-detector";
  const holdback = "priority-holdback-policy";
  return {
    featureGates: ["flowControl"],
    plugins: [
      ...profile.map((type) => ({ type })),
      { type: detector, parameters: { maxConcurrency: CONCURRENCY_MAX } },
      { type: holdback, parameters: { minCeiling: OCCUPANTS / CONCURRENCY_MAX } },
    ],
    schedulingProfiles: [{ name: "default", plugins: profile.map((pluginRef) => ({ pluginRef })) }],
    flowControl: {
      saturationDetector: { pluginRef: detector },
      usageLimitPolicyPluginRef: holdback,
      defaultRequestTTL: "0s",
      defaultPriorityBand: { maxRequests: waitingMax },
    },
  };
}

/** A bare Worker that also holds requests as cheaply as it can be done: each with its body, and a timer. */
function holdingWorker(relay: string): string {
  return `let heldCount = 0;
export default {
  async fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname === "${HELD_PATH}") return new Response(String(heldCount));
    const target = "http://${relay}" + pathname;
    if (!request.headers.has("${HOLD_HEADER}")) return fetch(new Request(target, request));
    const { method, headers } = request;
    const body = await request.arrayBuffer();
    heldCount += 1;
    await new Promise((resolve) => setTimeout(resolve, 3_600_000));
    return fetch(target, { method, headers, body });
  },
};
`;
}

/** Asks workerds what they hold. */
export class QueueProbe implements AsyncDisposable {
  readonly #adminKey: string;
  readonly #fairlead: Client;
  readonly #bare: Client;

  constructor({ adminKey, fairlead, bare }: Stack) {
    this.#adminKey = adminKey;
    const { socketPath } = fairlead;
    this.#fairlead = new Client("http://bench.invalid", {
      socketPath,
      headersTimeout: ANSWER_MS_MAX,
    });
    this.#bare = new Client("http://bench.invalid", {
      socketPath: bare.socketPath,
      headersTimeout: ANSWER_MS_MAX,
    });
  }

  async queue(): Promise<QueueState> {
    const text = await this.#admin(`/admin/v1/pools/${POOL}/queue`);
    return (JSON.parse(text) as { queue: QueueState }).queue;
  }

  async pool(): Promise<PoolState> {
    return JSON.parse(await this.#admin(`/admin/v1/pools/${POOL}`)) as PoolState;
  }

  /** Times that a request which waits was asked for again, since the object's start. */
  async askedAgainCount(): Promise<number> {
    const { name } = FLOW_CONTROL_METRIC.queueAskedAgainTotal;
    const text = await this.#admin(`/metrics/pools/${POOL}`);
    const line = text.split("\n").find((each) => each.startsWith(name));
    return Number(line?.split(" ").at(-1) ?? 0);
  }

  /** Requests that the bare Worker holds. */
  async bareHeldCount(): Promise<number> {
    return Number(await read(this.#bare, HELD_PATH));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#fairlead.close(), this.#bare.close()]);
  }

  #admin(path: string): Promise<string> {
    return read(this.#fairlead, path, { authorization: `Bearer ${this.#adminKey}` });
  }
}

async function read(
  client: Client,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<string> {
  // A connection each: workerd closes idle ones, and this process may be too busy to notice in time.
  const answer = await client.request({ path, method: "GET", headers, reset: true });
  const text = await answer.body.text();
  if (answer.statusCode !== 200) throw new Error(`${path}: ${answer.statusCode} ${text}`);
  return text;
}
