// What an administrator sees of a full pool, end to end inside workerd: who waits, who waited, and who
// was refused.

import { afterEach, beforeEach, expect, it } from "vitest";
import type { DecisionPage, QueueState } from "../../src/durable/state.ts";
import { explanationSchema } from "../../src/scheduler/decisions/document.ts";
import { endpoint, poolStub, TestAgent, until } from "../durable/pool-client.ts";
import {
  adminSend,
  applyConfiguration,
  chat,
  chatBody,
  configuration,
} from "./support/deployment.ts";

const ONE_AT_A_TIME = {
  featureGates: ["flowControl"],
  plugins: [{ type: "concurrency-detector", parameters: { maxConcurrency: 1 } }],
  flowControl: { saturationDetector: { pluginRef: "concurrency-detector" } },
};

let collector: TestAgent;
/** Ends the request that the pool's only endpoint is busy with. */
let end: () => Promise<void>;

beforeEach(async () => {
  const config = configuration();
  const [pool, ...others] = config.pools;
  await applyConfiguration({
    ...config,
    pools: [{ ...pool, scheduler: ONE_AT_A_TIME }, ...others],
  });
  collector = await TestAgent.greeted();
  collector.membership([endpoint(1)]);
  collector.metrics([{ endpoint: 0, fields: [0, 0, 0, 16, 4_000] }]);
  await until(async () => (await poolStub().state()).endpoints.length === 1);
  const occupant = await chat(chatBody({ user: "endless", stream: true }));
  end = () => occupant.body!.cancel();
});

afterEach(async () => {
  await end();
  await until(async () => (await poolStub().state()).tickets.open === 0);
  collector.close();
});

async function queueOf(): Promise<QueueState> {
  const answer = await adminSend("/admin/v1/pools/eu-1/queue");
  return (await answer.json<{ queue: QueueState }>()).queue;
}

async function metrics(): Promise<string> {
  return (await adminSend("/metrics/pools/eu-1")).text();
}

async function explained(response: Response) {
  const id = response.headers.get("x-fairlead-request-id")!;
  const answer = await adminSend(`/admin/v1/explain/${id}`);
  expect(answer.status).toBe(200);
  return explanationSchema.parse(await answer.json()).attempts;
}

it("shows who waits, and afterwards that and how they were let through", async () => {
  const answered = chat(chatBody());
  await until(async () => (await queueOf()).waiting.requests === 1);
  const queue = await queueOf();
  expect(queue).toMatchObject({ hasEndpoints: true, openWaits: 1, places: 0, inFlight: 1 });
  expect(queue.saturation).toBeGreaterThanOrEqual(1);
  const band = queue.bands.find(({ priority }) => priority === 3)!;
  expect(band.flows).toMatchObject([{ fairnessId: "acme", waiting: 1, inFlight: 1 }]);
  expect(band.flows[0]!.waitingBytes).toBe(band.waiting.bytes);
  const labels = 'fairness_id="acme",priority="3",inference_pool="eu-1"';
  expect(await metrics()).toContain(`llm_d_epp_flow_control_queue_size{${labels}} 1\n`);
  expect(queue).toMatchObject({ detector: "concurrency-detector", stages: { decode: 1 } });
  const ofPool = 'inference_pool="eu-1"';
  for (const line of [
    `stale_endpoints{detector="concurrency-detector",${ofPool}} 0`,
    `pool_saturation{${ofPool},stage="decode"} 1`,
    `pool_saturation{${ofPool},stage="effective"} 1`,
    `revocations_total{outcome="confirmed",${ofPool}} 0`,
  ])
    expect(await metrics()).toContain(`llm_d_epp_flow_control_${line}\n`);

  await scheduler.wait(30);
  await end();
  const response = await answered;
  await response.body?.cancel();
  const [attempt] = await explained(response);
  expect(attempt!.queue).toMatchObject({ priority: 3, fairnessId: "acme" });
  expect(attempt!.queue!.waitedMs).toBeGreaterThanOrEqual(25);
  expect(attempt!.queue!.saturation).toBeLessThan(1);
  const page = await (await adminSend("/admin/v1/pools/eu-1/decisions")).json<DecisionPage>();
  expect(page.decisions[0]!.attempt.queue).toEqual(attempt!.queue);
  const told = await metrics();
  expect(told).toContain(`llm_d_epp_flow_control_queue_size{${labels}} 0\n`);
  expect(told).toContain(
    'flow_control_requests_total{outcome="Dispatched",priority="3",inference_pool="eu-1"} 2\n',
  );
});

it("explains who waited in vain", async () => {
  const response = await chat(chatBody(), { "x-llm-d-inference-ttl": "200ms" });
  expect(response.status).toBe(429);
  const attempts = await explained(response);
  expect(attempts).toMatchObject([
    {
      tenant: "acme",
      candidateCount: 0,
      dropped: { reason: "rejected-ttl-expired" },
      queue: { priority: 3, fairnessId: "acme" },
    },
  ]);
  expect(attempts[0]!.queue!.waitedMs).toBeGreaterThanOrEqual(150);
  expect(await metrics()).toMatch(/requests_total\{outcome="EvictedTTL",priority="3".*\} 1\n/);
});
