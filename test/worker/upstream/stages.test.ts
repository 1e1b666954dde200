// The endpoints of a split request on their way to the relay: from the pool's object, and from nobody else.

import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { endpoint, POOL, type TestAgent, until } from "../../durable/pool-client.ts";
import {
  applyConfiguration,
  chat,
  chatBody,
  configuration,
  deploy,
  seenBy,
} from "../support/deployment.ts";

const STAGE_HEADERS = [
  "x-prefiller-host-port",
  "x-encoder-hosts-ports",
  "x-data-parallel-host-port",
  "x-kv-cache-source-host-port",
];
/** By the number of the endpoint. */
const ROLES = ["prefill", "prefill", "decode", "decode"];
const PREFILLERS = ["10.0.0.1:8000", "10.0.0.2:8000"];
const DECODERS = ["10.0.0.3:8000", "10.0.0.4:8000"];

const SPLIT_ALWAYS = {
  plugins: [
    {
      type: "disagg-profile-handler",
      parameters: { deciders: { prefill: "always-disagg-pd-decider" } },
    },
    { type: "always-disagg-pd-decider" },
    { type: "prefill-filter" },
    { type: "decode-filter" },
  ],
  schedulingProfiles: ["prefill", "decode"].map((name) => ({
    name,
    plugins: [{ pluginRef: `${name}-filter` }],
  })),
};

let collector: TestAgent;

async function splitBy(scheduler: object, relays?: readonly string[]): Promise<void> {
  const config = configuration(relays);
  const pools = config.pools.map((pool) => ({ ...pool, scheduler }));
  await applyConfiguration({ ...config, pools });
  if (scheduler !== SPLIT_ALWAYS || relays !== undefined) return;
  // Until the object has heard of the roles.
  await until(async () => (await seenBy(await chat(chatBody()))).headers[STAGE_HEADERS[0]!]);
}

beforeEach(async () => {
  collector = await deploy(4);
  const endpoints = ROLES.map((role, i) => ({
    ...endpoint(i + 1),
    labels: { "llm-d.ai/role": role },
  }));
  collector.membership(endpoints);
  collector.metrics(endpoints.map((_, i) => ({ endpoint: i, fields: [0, 0, 0, 16, 4_000] })));
});

afterEach(() => collector.close());

/** What a client must have no say in. */
const FORGED = Object.fromEntries(STAGE_HEADERS.map((name) => [name, "10.9.9.9:1"]));

describe("stages", () => {
  it("of a split request are told, the choice before the one in reserve", async () => {
    await splitBy(SPLIT_ALWAYS);
    const { headers } = await seenBy(await chat(chatBody()));
    const [first, second, ...more] = headers["x-prefiller-host-port"]!.split(",");
    expect(new Set([first, second])).toEqual(new Set(PREFILLERS));
    expect(more).toEqual([]);
    expect(DECODERS).toContain(headers["x-gateway-destination-endpoint"]);
    for (const name of STAGE_HEADERS.slice(1)) expect(headers).not.toHaveProperty(name);
  });

  it("of a client change nothing, split or not", async () => {
    for (const scheduler of [{}, SPLIT_ALWAYS]) {
      await splitBy(scheduler);
      const plain = await seenBy(await chat(chatBody()));
      const forged = await seenBy(await chat(chatBody(), FORGED));
      expect(JSON.stringify(forged.headers)).not.toContain("10.9.9.9");
      const names = (seen: typeof plain) => STAGE_HEADERS.filter((name) => name in seen.headers);
      expect(names(forged)).toEqual(names(plain));
    }
  });

  it("are chosen anew when a relay is passed over, and fit the new destination", async () => {
    await splitBy(SPLIT_ALWAYS);
    await splitBy(SPLIT_ALWAYS, [inject("deadUrl"), inject("relayUrl")]);
    let attempt = 1;
    for (let i = 0; i < 20 && attempt === 1; i++) {
      const response = await chat(chatBody());
      const { headers } = await seenBy(response);
      attempt = Number(headers["x-fairlead-attempt"]);
      const prefillers = headers["x-prefiller-host-port"]!.split(",");
      expect(prefillers.every((address) => PREFILLERS.includes(address))).toBe(true);
      expect(DECODERS).toContain(headers["x-gateway-destination-endpoint"]);
      await response.body?.cancel();
    }
    expect(attempt).toBe(2);
    // Of both attempts nobody carries anything once their Workers are gone.
    await until(async () => {
      const { endpoints } = await env.POOLS.state(POOL);
      return endpoints.every(({ inFlightRequests }) => inFlightRequests === 0);
    });
  });
});
