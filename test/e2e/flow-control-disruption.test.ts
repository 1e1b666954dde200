// What a full pool's requests survive while they wait: the object that holds the queue, the collector,
// engines, all engines. Names in quotes are those of llm-d's disruption tests.

import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startEngines } from "./harness.ts";
import {
  type Answer,
  concurrencyScheduler,
  onePlaceEach,
  FlowStack,
  type Occupant,
  refusalOf,
  refused,
  schedulerOf,
  simState,
} from "./flow-stack.ts";

const WEBHOOK_TOKEN = "token-of-the-capacity-webhook";

/** Asks for capacity, as they came. */
interface Webhook {
  readonly url: string;
  readonly server: Server;
  readonly asks: { readonly authorization: string | undefined; readonly body: string }[];
}

async function startWebhook(): Promise<Webhook> {
  const asks: Webhook["asks"] = [];
  const server = createServer((request: IncomingMessage, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
    request.on("end", () => {
      asks.push({ authorization: request.headers.authorization, body });
      response.writeHead(202).end();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/capacity`, server, asks };
}

let stack: FlowStack;
let webhook: Webhook;
beforeAll(async () => {
  webhook = await startWebhook();
  stack = await FlowStack.start(2, "--coordinators", "1");
});
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]();
  webhook?.server.close();
});

const occupants: Occupant[] = [];
// A test that fails must not keep the next one waiting.
afterEach(() => releaseAll());

/** Fills the pool's places. */
async function occupy(count: number): Promise<void> {
  occupants.push(...(await Promise.all(Array.from({ length: count }, () => stack.occupy()))));
}

async function releaseAll(): Promise<void> {
  await Promise.all(occupants.splice(0).map((each) => each.release()));
}

async function waitingInEngines(): Promise<number> {
  const states = await Promise.all(stack.engines.map(simState));
  return states.reduce((sum, { waiting }) => sum + waiting, 0);
}

const statuses = (answers: readonly Answer[]) => answers.map(({ status }) => status);
const addressOf = (index: number) => new URL(stack.engines[index]!.origins[0]!).host;
const signal = (part: string, name: NodeJS.Signals) =>
  process.kill(stack.up.pidsNow()[part]!, name);

it("the object is killed: who waits keeps its place", async () => {
  const parameters = { queueDepthThreshold: 1 };
  await stack.configure(schedulerOf({ type: "utilization-detector", parameters }));
  await occupy(4);
  // One for each engine's own queue.
  const full = stack.engines.map(() => stack.ask());
  await stack.until("the engines are full", async () => (await waitingInEngines()) === 2);
  await stack.untilSampled();
  const { answers } = await stack.enqueue([{}, {}, { as: "vip" }, {}, {}]);
  const { objectEpoch } = await stack.pool();
  signal("coordinator-0", "SIGKILL");
  await stack.until("the queue is whole again", async () => {
    const again = await stack.pool().catch(() => undefined);
    if (again?.objectEpoch === undefined || again.objectEpoch === objectEpoch) return false;
    return (await stack.queue()).waiting.requests === answers.length;
  });
  await releaseAll();
  const served = await Promise.all([...answers, ...full]);
  expect(statuses(served)).toEqual(served.map(() => 200));
  expect(await stack.orderOf(served)).toEqual([2, 0, 1, 3, 4]);
  await stack.untilIdle();
});

describe("the collector stops", () => {
  const staleEndpoints = (count: number) =>
    stack.until(`${count} endpoints are stale`, async () => {
      return (await stack.queue()).staleEndpoints === count;
    });

  it("and nobody is sent to engines that nobody hears of, until it is back", async () => {
    await stack.configure(schedulerOf({ type: "utilization-detector", parameters: {} }));
    expect((await stack.ask()).status).toBe(200);
    signal("collector-local", "SIGSTOP");
    try {
      await staleEndpoints(2);
      const sent = (await stack.sent()).length;
      const { answers } = await stack.enqueue([{}, {}]);
      expect((await stack.queue()).saturation).toBe(1);
      expect(await stack.sent()).toHaveLength(sent);
      signal("collector-local", "SIGCONT");
      expect(statuses(await Promise.all(answers))).toEqual([200, 200]);
    } finally {
      signal("collector-local", "SIGCONT");
    }
    await staleEndpoints(0);
  });

  it("and requests go on where that is ignored", async () => {
    const parameters = { stalenessPolicy: "ignore" };
    await stack.configure(schedulerOf({ type: "utilization-detector", parameters }));
    signal("collector-local", "SIGSTOP");
    try {
      await staleEndpoints(2);
      const { status, headers } = await stack.ask();
      expect(status).toBe(200);
      expect(headers.has("x-fairlead-queue-ms")).toBe(false);
    } finally {
      signal("collector-local", "SIGCONT");
    }
    await staleEndpoints(0);
  });
});

it("an engine that says it is overloaded is used again when its lease is over", async () => {
  const CALLS = 5;
  await stack.configure(concurrencyScheduler(CALLS));
  await fetch(`${stack.engines[1]!.origins[0]}/sim/failures`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify([{ kind: "503", count: CALLS }]),
  });
  const isEjected = async () => {
    const { endpoints } = await stack.pool();
    return endpoints.some(
      ({ address, ejectedMs = 0 }) => address === addressOf(1) && ejectedMs > 0,
    );
  };
  for (let asked = 0; asked < 10 * CALLS && !(await isEjected()); asked++) {
    expect((await stack.ask()).status).toBe(200);
  }
  expect(await isEjected()).toBe(true);
  // Of those that do not fit the other engine, none is refused, and nobody has to do anything.
  const answers = await Promise.all(
    Array.from({ length: 3 * CALLS }, () => stack.ask({ tokens: 3 })),
  );
  expect(statuses(answers)).toEqual(answers.map(() => 200));
  const served = answers.map(({ headers }) => headers.get("x-fairlead-endpoint"));
  expect(served).toContain(addressOf(1));
  expect(answers.some(({ headers }) => headers.has("x-fairlead-queue-ms"))).toBe(true);
  await stack.untilIdle();
  expect(await isEjected()).toBe(false);
});

it('"pod killed mid-stream" in a full pool: who waits is served by the others', async () => {
  await stack.configure(onePlaceEach());
  await occupy(2);
  const { answers } = await stack.enqueue([{}, {}, {}]);
  const [dead] = stack.engines.splice(1, 1);
  const { host, port } = new URL(dead!.origins[0]!);
  dead!.child.kill("SIGKILL");
  await stack.until("its stream is told", async () =>
    occupants.some(({ received }) => received().includes('"engine_lost"')),
  );
  const living = occupants.find(({ endpoint }) => endpoint !== host)!;
  await living.release();
  const served = await Promise.all(answers);
  expect(statuses(served)).toEqual([200, 200, 200]);
  for (const { headers } of served)
    expect(headers.get("x-fairlead-endpoint")).toBe(living.endpoint);
  await releaseAll();
  await stack.untilIdle();

  // The same place again: its lease ends with nobody waiting for it.
  stack.engines.push(await startEngines(1, ...FlowStack.ENGINE, "--ports", port));
  await stack.until("it serves again", async () => {
    const { status, headers } = await stack.ask();
    expect(status).toBe(200);
    return headers.get("x-fairlead-endpoint") === host;
  });
});

describe("all engines are gone", () => {
  const setEngines = (addresses: readonly string[]) => {
    const endpoints = addresses.map((each, i) => {
      const [address, port] = each.split(":");
      return { name: `engine-${i}`, address, port: Number(port) };
    });
    const file = join(stack.up.stateDir, "generated", "endpoints-local.json");
    writeFileSync(file, JSON.stringify({ endpoints }));
    return stack.until(`${addresses.length} endpoints are known`, async () => {
      return (await stack.pool()).endpoints.length === addresses.length;
    });
  };

  it('"all pods gone" without flow control: 503 at once, and recovers', async () => {
    const addresses = stack.engines.map((_, index) => addressOf(index));
    await stack.configure({ featureGates: [] });
    await setEngines([]);
    expect(refusalOf(await stack.ask())).toEqual(refused(503, "rejected-no-endpoints"));
    await setEngines(addresses);
    expect((await stack.ask()).status).toBe(200);
  });

  it('"scale-to-zero under traffic": requests wait, one asks for capacity, and all are served', async () => {
    const addresses = stack.engines.map((_, index) => addressOf(index));
    const capacityWebhook = { url: webhook.url, token: WEBHOOK_TOKEN };
    await stack.configure(concurrencyScheduler(1), { capacityWebhook });
    await occupy(1);
    const [occupant] = occupants as [Occupant];
    await setEngines([]);
    const { answers } = await stack.enqueue([{}, { as: "vip" }, {}]);
    const ttl = { headers: { "x-llm-d-inference-ttl": "300ms" } };
    expect(refusalOf(await stack.ask(ttl))).toEqual(refused(503, "rejected-no-endpoints"));
    expect(webhook.asks).toHaveLength(1);
    const [{ authorization, body }] = webhook.asks as [Webhook["asks"][number]];
    expect(authorization).toBe(`Bearer ${WEBHOOK_TOKEN}`);
    expect(JSON.parse(body)).toMatchObject({ pool: "local", reason: "no-endpoints" });
    expect((await stack.queue()).hasEndpoints).toBe(false);
    // A stream that runs is not the membership's business.
    const { length } = occupant.received();
    await stack.until("it goes on", async () => occupant.received().length > length);
    await setEngines(addresses);
    expect(statuses(await Promise.all(answers))).toEqual([200, 200, 200]);
    expect(webhook.asks).toHaveLength(1);
    await releaseAll();
    await stack.untilIdle();
  });
});
