// llm-d's cases of pinned endpoints, sessions, stages, rollouts and admission, through whole decisions.
//
// Source: llm-d-router test/integration/epp (TestSessionAffinityFilter_*) and test/e2e (disaggregation);
// gateway-api-inference-extension conformance/tests (GatewayFollowingEPPRouting, …WithDataParallelism).

import { describe, expect, it } from "vitest";
import { schedulerConfigSchema } from "../../src/scheduler/config/schema.ts";
import type { Picked } from "../../src/scheduler/endpoint-picker.ts";
import type { InferenceRequest } from "../../src/scheduler/model/inference-request.ts";
import type { Dropped } from "../../src/scheduler/outcome.ts";
import { inferenceRequest } from "../scheduler/support/pick-context.ts";
import { promptKeys, TestPool } from "../scheduler/support/pool.ts";

type Labels = Readonly<Record<string, string>>;

/** A pool whose endpoints have these labels, and addresses of one host for each pair. */
function poolOf(document: object, labels: readonly Labels[]): TestPool {
  const config = schedulerConfigSchema.parse({
    apiVersion: "llm-d.ai/v1alpha1",
    kind: "EndpointPickerConfig",
    ...document,
  });
  const pool = new TestPool(0, config);
  labels.forEach((each, n) => {
    const address = `10.0.0.${1 + (n >> 1)}:${n % 2 === 0 ? 3000 : 3002}`;
    pool.table.add({ id: `default/e${n}`, address, engine: "vllm", labels: each });
  });
  pool.sampleAll();
  return pool;
}

function pick(pool: TestPool, request: Partial<InferenceRequest> = {}, prompt = "x") {
  return pool.pick(prompt, { request: inferenceRequest({ keys: promptKeys(prompt), ...request }) });
}

function slotsOf(outcome: Picked | Dropped): number[] {
  if (!outcome.ok) throw new Error(outcome.detail);
  return [...outcome.slots];
}

function oneProfile(...plugins: readonly object[]): object {
  const named = plugins as readonly { readonly type: string }[];
  return {
    plugins,
    schedulingProfiles: [
      {
        name: "default",
        plugins: named
          .filter(({ type }) => /-(filter|picker)$/.test(type))
          .map(({ type }) => ({ pluginRef: type })),
      },
    ],
  };
}

const NO_LABELS: readonly Labels[] = [{}, {}, {}, {}];

describe("GatewayFollowingEPPRouting", () => {
  const pool = poolOf(
    oneProfile({ type: "header-based-testing-filter" }, { type: "random-picker" }),
    NO_LABELS,
  );
  const pinned = (value: string) =>
    pick(pool, { headers: { "test-epp-endpoint-selection": value } });

  it.for([
    { name: "a host: any of its ranks", value: "10.0.0.2", want: [2, 3] },
    { name: "a host and a port: that rank", value: "10.0.0.2:3002", want: [3] },
    { name: "several endpoints", value: "10.0.0.1:3000,10.0.0.2:3000", want: [0, 2] },
    { name: "a whole list of hosts", value: "10.0.0.1, 10.0.0.2", want: [0, 1, 2, 3] },
  ])("goes nowhere but to $name", ({ value, want }) => {
    const seen = new Set(Array.from({ length: 100 }, () => slotsOf(pinned(value))[0]));
    expect([...seen].toSorted((a, b) => a! - b!)).toEqual(want);
  });

  it("turns away who is pinned to nobody", () => {
    expect(pinned("10.0.0.9")).toMatchObject({ ok: false, reason: "rejected-saturated" });
    expect(pick(pool)).toMatchObject({ ok: false, reason: "rejected-saturated" });
  });
});

const ROLES: readonly Labels[] = ["prefill", "prefill", "decode", "decode"].map((role) => ({
  "llm-d.ai/role": role,
}));

function disaggregated(handler: object, more: readonly object[] = []): object {
  return {
    plugins: [
      { type: "prefill-filter" },
      { type: "decode-filter" },
      { type: "encode-filter" },
      { type: "prefix-based-pd-decider", parameters: { nonCachedTokens: 100 } },
      { type: "always-disagg-multimodal-decider" },
      { type: "prefix-cache-scorer" },
      { type: "max-score-picker" },
      { type: "disagg-profile-handler", parameters: handler },
      ...more,
    ],
    schedulingProfiles: ["prefill", "decode", "encode"].map((name) => ({
      name,
      plugins: [
        { pluginRef: `${name}-filter` },
        ...more.map((plugin) => ({ pluginRef: (plugin as { type: string }).type })),
        { pluginRef: "prefix-cache-scorer" },
        { pluginRef: "max-score-picker" },
      ],
    })),
  };
}

const DECIDERS = {
  deciders: { prefill: "prefix-based-pd-decider", encode: "always-disagg-multimodal-decider" },
};

const LONG = "Tell me everything there is to know about caches. ".repeat(60);

describe("disaggregation", () => {
  it("prefills a long prompt apart, and a short one where it is decoded", () => {
    const pool = poolOf(disaggregated(DECIDERS), ROLES);
    const long = pick(pool, { promptTokens: 750 }, LONG) as Picked;
    expect([2, 3]).toContain(long.slots[0]);
    expect([0, 1]).toContain(long.prefill?.[0]);
    expect(pick(pool, { promptTokens: 99 })).not.toHaveProperty("prefill");
  });

  it("prefills nothing apart that the decode endpoint holds already", () => {
    const pool = poolOf(disaggregated(DECIDERS), ROLES);
    pool.prefix.learn(promptKeys(LONG), 3, 0);
    const again = pick(pool, { promptTokens: 750 }, LONG) as Picked;
    expect([...again.slots]).toEqual([3]);
    expect(again).not.toHaveProperty("prefill");
  });

  it("encodes media apart, where somebody does that", () => {
    const media = { hashes: Uint32Array.of(1, 2), tokens: Uint32Array.of(50) };
    const encoder = { "llm-d.ai/role": "encode" };
    const pool = poolOf(disaggregated(DECIDERS), [...ROLES, encoder]);
    expect([...(pick(pool, { media }) as Picked).encode!]).toEqual([4]);
    expect(pick(pool)).not.toHaveProperty("encode");
    expect(pick(poolOf(disaggregated(DECIDERS), ROLES), { media })).not.toHaveProperty("encode");
  });

  it("chooses prefill before decode if so ordered, near it", () => {
    const host = (name: string) => ({ "kubernetes.io/hostname": name });
    const labels = ["a", "b", "a", "b"].map((name, n) => ({ ...ROLES[n], ...host(name) }));
    const near = { type: "topology-affinity-filter" };
    const pool = poolOf(disaggregated({ stageOrder: "prefill-first" }, [near]), labels);
    const hosts = new Set<string>();
    for (let n = 0; n < 50; n++) {
      const { slots, prefill } = pick(pool) as Picked;
      hosts.add(`${prefill![0]} ${slots[0]}`);
    }
    expect(hosts).toEqual(new Set(["0 2", "1 3"]));
  });

  it("fails where nobody decodes, and serves where nobody prefills", () => {
    const none = poolOf(disaggregated(DECIDERS), ROLES.slice(0, 2));
    expect(pick(none)).toMatchObject({
      ok: false,
      detail: "failed to find available decode workers",
    });
    const alone = pick(poolOf(disaggregated(DECIDERS), ROLES.slice(2)), { promptTokens: 750 });
    expect(alone).toMatchObject({ ok: true });
    expect(alone).not.toHaveProperty("prefill");
  });
});

describe("TestSessionAffinityFilter", () => {
  it("RequestFlow: a session stays, until its endpoint leaves", () => {
    const strategy = { type: "session-affinity-filter", parameters: { strategy: "session_id" } };
    const pool = poolOf(oneProfile(strategy, { type: "random-picker" }), NO_LABELS);
    let n = 0;
    const send = () => {
      const headers = { "x-session-id": "s" };
      return slotsOf(pick(pool, { requestId: `r${n++}`, headers }))[0]!;
    };
    const first = send();
    expect(new Set(Array.from({ length: 30 }, send))).toEqual(new Set([first]));
    pool.table.remove(first);
    pool.picker.onEndpointRemoved(first);
    const second = send();
    expect(second).not.toBe(first);
    expect(new Set(Array.from({ length: 30 }, send))).toEqual(new Set([second]));
  });

  it("PDDisaggregated: one token for each stage, and none for a stage that did not run", () => {
    const plugins = [
      { type: "session-affinity-filter" },
      {
        type: "session-affinity-filter",
        name: "prefill-session",
        parameters: {
          encodedEndpointHeaderConfig: { header: "x-prefill-token" },
          profileName: "prefill",
        },
      },
    ];
    const pool = poolOf(
      { ...disaggregated(DECIDERS), plugins: [...pluginsOf(disaggregated(DECIDERS)), ...plugins] },
      ROLES,
    );
    const tokenOf = (slot: number) => btoa(pool.table.endpoint(slot)!.id);
    const split = pick(pool, { promptTokens: 750 }, LONG) as Picked;
    expect(split.responseHeaders).toEqual([
      { name: "x-session-token", values: Array.from(split.slots, tokenOf) },
      {
        name: "x-prefill-token",
        values: Array.from(split.slots, () => tokenOf(split.prefill![0]!)),
      },
    ]);
    const whole = pick(pool, { promptTokens: 99 }) as Picked;
    expect(whole.prefill).toBeUndefined();
    expect(whole.responseHeaders![1]!.values).toEqual(Array.from(whole.slots, () => ""));
  });
});

function pluginsOf(document: object): readonly object[] {
  return (document as { readonly plugins: readonly object[] }).plugins;
}

describe("before the profiles", () => {
  const sheddable = { priority: -1 };

  it("turns a sheddable request away as saturated while the pool is busy, and no other", () => {
    const pool = poolOf(
      oneProfile({ type: "max-score-picker" }, { type: "probabilistic-admitter" }),
      NO_LABELS,
    );
    pool.sampleAll(Object.fromEntries([0, 1, 2, 3].map((slot) => [slot, { waiting: 5 }])));
    expect(pick(pool, sheddable)).toMatchObject({ ok: false, reason: "rejected-saturated" });
    expect(pick(pool)).toMatchObject({ ok: true });
  });

  it("keeps both stages of a request within one revision of a rollout", () => {
    const screener = {
      type: "disaggregatedset-rollout-screener",
      parameters: {
        scope: { labelSelector: "llm-d.ai/role" },
        headerSelectors: [
          { name: "revision", headerName: "x-revision", labelKey: "rev", mode: "strict" },
        ],
        revisionGating: {
          mode: "sum",
          revisionLabelKey: "rev",
          roleLabelKey: "llm-d.ai/role",
          requireRoles: { values: ["prefill", "decode"] },
        },
      },
    };
    const document = disaggregated({ stageOrder: "prefill-first" });
    const labels = ["A", "B", "A", "B"].map((rev, n) => ({ ...ROLES[n], rev }));
    const pool = poolOf({ ...document, plugins: [...pluginsOf(document), screener] }, labels);
    const pairs = new Set<string>();
    for (let n = 0; n < 50; n++) {
      const { slots, prefill } = pick(pool) as Picked;
      pairs.add(`${prefill![0]} ${slots[0]}`);
    }
    expect(pairs).toEqual(new Set(["0 2", "1 3"]));
    const { slots, responseHeaders } = pick(pool) as Picked;
    const revisions = Array.from(slots, (slot) => labels[slot]!.rev);
    expect(responseHeaders).toEqual([{ name: "x-revision", values: revisions }]);
    const headers = (revision: string) => ({ headers: { "x-revision": revision } });
    expect(slotsOf(pick(pool, headers("B")))).toEqual([3]);
    expect(pick(pool, headers("C"))).toMatchObject({ ok: false, reason: "rejected-no-endpoints" });
  });
});
