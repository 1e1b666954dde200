// A disaggregated pool through its object: what is granted, what it loads, and what relays' reports change.

import { reset } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { TicketReport } from "../../src/agents/protocol/messages.ts";
import type { PickGrant } from "../../src/durable/contract.ts";
import { localCommit, sync } from "./edge/support.ts";
import {
  closed,
  configurePool,
  contentKeys,
  endpoint,
  opened,
  pickRequest,
  POOL,
  poolStub,
  TestAgent,
  TestWorker,
  until,
} from "./pool-client.ts";

/** By the number of the endpoint, less 1. */
const ROLES = ["prefill", "prefill", "decode", "encode"];
const [PREFILL, OTHER_PREFILL, DECODE, ENCODE] = ROLES.map((_, i) => endpoint(i + 1).address) as [
  string,
  string,
  string,
  string,
];

function splitting(more: readonly object[] = [], detector: object = {}): object {
  return {
    plugins: [
      {
        type: "disagg-profile-handler",
        parameters: {
          deciders: {
            prefill: "always-disagg-pd-decider",
            encode: "always-disagg-multimodal-decider",
          },
        },
      },
      { type: "always-disagg-pd-decider" },
      { type: "always-disagg-multimodal-decider" },
      ...["prefill", "decode", "encode"].map((stage) => ({ type: `${stage}-filter` })),
      { type: "prefix-cache-scorer" },
      ...more,
    ],
    schedulingProfiles: ["prefill", "decode", "encode"].map((name) => ({
      name,
      plugins: [{ pluginRef: `${name}-filter` }, { pluginRef: "prefix-cache-scorer", weight: 1 }],
    })),
    ...detector,
  };
}

let collector: TestAgent;
let relay: TestAgent;
let worker: TestWorker;

beforeEach(async () => {
  worker = new TestWorker();
  await configurePool(1, 200, splitting());
  collector = await TestAgent.greeted();
  const endpoints = ROLES.map((role, i) => ({
    ...endpoint(i + 1),
    labels: { "llm-d.ai/role": role },
  }));
  collector.membership(endpoints);
  collector.metrics(endpoints.map((_, i) => ({ endpoint: i, fields: [0, 0, 0, 16, 4_000] })));
  await until(async () => {
    const state = await poolStub().state();
    return state.endpoints.length === ROLES.length && state.endpoints.every((e) => e.isFresh);
  });
  relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
});

afterEach(async () => {
  worker[Symbol.dispose]();
  relay.close();
  collector.close();
  await reset();
});

async function granted(requestId: string, shape: object = {}): Promise<PickGrant> {
  const grant = await worker.pick(pickRequest(requestId, shape));
  if (!grant.ok) throw new Error(grant.detail);
  return grant;
}

const loads = async () => {
  const { endpoints } = await poolStub().state();
  return Object.fromEntries(endpoints.map((e) => [e.address, e.inFlightRequests]));
};
const loadOf = async (address: string) => (await loads())[address];

function prefilled(
  grant: PickGrant,
  address: string,
  outcome: "ok" | "unreachable" = "ok",
): TicketReport {
  const counts = { promptTokens: 1_280, cachedTokens: 0 };
  const { ticket } = grant;
  const ended = { endpoint: address, outcome, durationMs: 90, ...counts };
  return { kind: "prefilled", ticket, attempt: 0, ...ended };
}

describe("a grant", () => {
  it("names prefill endpoints in order, and charges the first and the one that decodes", async () => {
    const { endpoints, stages } = await granted("r1");
    expect(endpoints).toEqual([DECODE]);
    const [prefillers, ...others] = stages!;
    expect(new Set(prefillers!.split(","))).toEqual(new Set([PREFILL, OTHER_PREFILL]));
    expect(others).toEqual(["", "", ""]);
    const first = prefillers!.split(",")[0]!;
    expect(await loads()).toMatchObject({ [first]: 1, [DECODE]: 1, [ENCODE]: 0 });
  });

  it("is the same when its answer was lost and it is asked again", async () => {
    const { stages, ticket } = await granted("r1");
    expect(await granted("r1")).toMatchObject({ stages, ticket });
    expect(Object.values(await loads()).reduce((a, b) => a + b)).toBe(2);
  });

  it("names encode endpoints of what has media, and whose blocks could be copied", async () => {
    await configurePool(2, 200, splitting([{ type: "p2p-source-producer" }]));
    const keys = contentKeys(7);
    const first = await granted("r1", { keys });
    const at = first.stages![0]!.split(",")[0]!;
    relay.reports([opened(first), prefilled(first, at), closed(first)]);
    await until(async () => (await loadOf(at)) === 0);
    const media = { hashes: Uint32Array.of(1, 2), tokens: Uint32Array.of(50) };
    const { stages } = await granted("r2", { keys, media });
    expect(stages![1]).toBe(ENCODE);
    // Who prefills has it all: there is nothing to copy.
    expect(stages![0]!.split(",")[0]).toBe(at);
    expect(stages![3]).toBe("");
    const elsewhere = { ...pickRequest("r3", { keys }), exclude: [DECODE] };
    expect(await worker.pick(elsewhere)).toMatchObject({ ok: false });
  });

  it("has no stages where nothing is split", async () => {
    await configurePool(2, 200, {});
    expect(await granted("r1")).not.toHaveProperty("stages");
  });
});

describe("reports", () => {
  it("of a prefill's end take its load away, and of the end all of it", async () => {
    const grant = await granted("r1");
    const first = grant.stages![0]!.split(",")[0]!;
    relay.reports([opened(grant), prefilled(grant, first)]);
    await until(async () => (await loadOf(first)) === 0);
    expect(await loadOf(DECODE)).toBe(1);
    relay.reports([closed(grant)]);
    await until(async () => (await loadOf(DECODE)) === 0);
  });

  it("teach that both hold the prompt: the next request finds it at the one that failed over to", async () => {
    const keys = contentKeys(3);
    const grant = await granted("r1", { keys });
    const [first, second] = grant.stages![0]!.split(",") as [string, string];
    relay.reports([
      opened(grant),
      prefilled(grant, first, "unreachable"),
      prefilled(grant, second),
      closed(grant),
    ]);
    await until(async () => (await loadOf(DECODE)) === 0);
    const next = await granted("r2", { keys });
    expect(next.stages![0]!.split(",")[0]).toBe(second);
  });

  it("are told by explain: why it was split, and how it went", async () => {
    const grant = await granted("r1");
    const first = grant.stages![0]!.split(",")[0]!;
    const stages = {
      connector: "nixlv2",
      prefill: first,
      outcome: "ok" as const,
      prefillMs: 90,
      failed: [],
      isDecodeOnly: false,
      isStranded: false,
    };
    const end = closed(grant);
    if (end.kind !== "closed") throw new Error("not an end");
    relay.reports([opened(grant), prefilled(grant, first), { ...end, stages }]);
    await until(async () => (await loadOf(DECODE)) === 0);
    const { explanation } = await poolStub().explain("r1");
    const [attempt] = explanation!.attempts;
    expect(attempt).toMatchObject({
      verdicts: [
        { stage: "encode", isApart: false },
        { stage: "prefill", isApart: true },
      ],
      stages: [{ profile: "prefill", role: "prefill", chosen: [first] }],
      result: { prefill: { endpoint: first, outcome: "ok", prefillMs: 90, failedCount: 0 } },
    });
  });

  it("are not waited for for ever: a relay that starts anew carries nothing", async () => {
    const grant = await granted("r1");
    const subject = { requestId: "r1", tenant: "acme", model: "m" };
    relay.reports([{ ...opened(grant), ...subject }]);
    await relay.received("ack");
    relay.close();
    relay = await TestAgent.greeted({ role: "relay", agent: "relay-0", epoch: "e2" });
    await until(async () => (await loadOf(DECODE)) === 0);
    expect(Object.values(await loads())).toEqual([0, 0, 0, 0]);
  });
});

describe("metrics", () => {
  it("count what was decided", async () => {
    const media = { hashes: Uint32Array.of(1, 2), tokens: Uint32Array.of(50) };
    await granted("r1");
    await granted("r2", { media });
    await configurePool(2, 200, {});
    await granted("r3");
    const lines = (await env.POOLS.metrics(POOL))
      .split("\n")
      .filter((line) => line.startsWith("llm_d_epp_disagg_decision_total{"));
    const labels = (type: string) =>
      `{plugin_name="disagg-profile-handler",plugin_type="disagg-profile-handler",model_name="m",decision_type="${type}"`;
    expect(lines).toHaveLength(2);
    for (const [i, type] of ["prefill-decode", "encode-prefill-decode"].entries()) {
      expect(lines[i]).toContain(labels(type));
      expect(lines[i]).toMatch(/\} 1$/);
    }
  });

  it("counts splits of isolates with its own, by who computes the prompt", async () => {
    const split = { endpoints: [DECODE], prefill: { endpoints: [PREFILL], uncachedTokens: 320 } };
    await sync({ commits: [localCommit(1, split), localCommit(2, { endpoints: [DECODE] })] });
    const lines = (await env.POOLS.metrics(POOL)).split("\n");
    const counted = lines.filter((line) => line.startsWith("llm_d_epp_disagg_decision_total{"));
    expect(counted).toHaveLength(2);
    for (const type of ["decode-only", "prefill-decode"])
      expect(counted.filter((line) => line.includes(`decision_type="${type}"} 1`))).toHaveLength(1);
    // The one has a quarter of its prompt to compute, the other all of it.
    const ratios = lines.find((line) => line.startsWith("llm_d_epp_prefix_indexer_hit_ratio_sum"));
    expect(ratios).toMatch(/ 0\.75$/);
  });
});
