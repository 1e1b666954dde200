// llm-d's guides, as configurations of ours: each loads as it is, comes to what its snapshot says, and
// decides as it was written. `npx vitest run test/conformance/guides.test.ts -u` after a default changed.

import { globSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { describe, expect, it } from "vitest";
import { parse, stringify } from "yaml";
import { loadSchedulerConfig } from "../../src/scheduler/config/load.ts";
import { resolveProfile, specOf, specsOfKind } from "../../src/scheduler/config/resolve.ts";
import { schedulerConfigSchema } from "../../src/scheduler/config/schema.ts";
import type { SchedulerConfig } from "../../src/scheduler/config/scheduler-config.ts";
import { EndpointPicker, type Picked } from "../../src/scheduler/endpoint-picker.ts";
import { EndpointTable } from "../../src/scheduler/model/endpoint-table.ts";
import type { InferenceRequest } from "../../src/scheduler/model/inference-request.ts";
import { inferenceRequest, NOW_MS, STALE_AFTER_MS } from "../scheduler/support/pick-context.ts";
import { promptKeys } from "../scheduler/support/pool.ts";

const GUIDES = globSync("test/fixtures/guides/*.yaml").sort();
/** Those that use plugins of stability Alpha; llm-d's EPP, too, needs its flag for them. */
const EXPERIMENTAL = [
  "burst-prefix-cache",
  "gpu-utilization",
  "payload-agnostic",
  "pd-topology",
  "session-affinity",
  "soft-reflective-ceiling",
];

const document = (guide: string): unknown =>
  parse(readFileSync(`test/fixtures/guides/${guide}.yaml`, "utf8"));
const configOf = (guide: string): SchedulerConfig => schedulerConfigSchema.parse(document(guide));

describe.for(GUIDES.map((path) => basename(path, ".yaml")))("%s", (guide) => {
  it("loads as it is, with the flag where llm-d needs it", () => {
    const { issues } = loadSchedulerConfig(document(guide));
    const isExperimental = EXPERIMENTAL.includes(guide);
    expect(issues.length > 0).toBe(isExperimental);
    for (const { message } of issues) expect(message).toContain("Alpha stability level");
    expect(loadSchedulerConfig(document(guide), { allowExperimentalPlugins: true }).issues).toEqual(
      [],
    );
  });

  it("comes to what the snapshot says", async () => {
    const text = stringify(configOf(guide), { aliasDuplicateObjects: false });
    await expect(text).toMatchFileSnapshot(`../fixtures/guides/effective/${guide}.yaml`);
  });

  it("says the same when it is read again, and can be made", () => {
    const config = configOf(guide);
    expect(schedulerConfigSchema.parse(config)).toEqual(config);
    expect(() => new EndpointPicker(config)).not.toThrow();
  });
});

/** `filters | scorers with weights | picker`, by name. */
function profileOf(guide: string, profile?: string): string {
  const { filters, scorers, picker } = resolveProfile(configOf(guide), profile);
  return [
    filters.map(({ name }) => name).join(" "),
    scorers.map(({ plugin, weight }) => `${plugin.name} ${weight}`).join(", "),
    picker.name,
  ].join(" | ");
}

describe("profiles", () => {
  it.for([
    {
      guide: "optimized-baseline",
      is: " | queue-scorer 2, kv-cache-utilization-scorer 2, prefix-cache-scorer 3, no-hit-lru-scorer 2 | max-score-picker",
    },
    {
      guide: "helm-default",
      is: " | queue-scorer 2, kv-cache-utilization-scorer 2, prefix-cache-scorer 3 | max-score-picker",
    },
    {
      guide: "tiered-prefix-cache",
      is: " | queue-scorer 1, kv-cache-utilization-scorer 1, gpu-prefix-cache-scorer 1, cpu-prefix-cache-scorer 1, no-hit-lru-scorer 1 | max-score-picker",
    },
    {
      guide: "predicted-latency-slo",
      is: "strict-affinity-filter slo-headroom-tier-filter loose-affinity-filter | latency-scorer 1 | weighted-random-picker",
    },
    {
      guide: "predicted-latency",
      is: "loose-affinity-filter | latency-scorer 1 | weighted-random-picker",
    },
    {
      guide: "agentic",
      is: "prefix-cache-affinity-filter | token-load-scorer 1 | max-score-picker",
    },
    {
      guide: "pd-disaggregation",
      profile: "prefill",
      is: "prefill-filter | prefix-cache-scorer 3, queue-scorer 2, kv-cache-utilization-scorer 2 | max-score-picker",
    },
    {
      guide: "pd-disaggregation",
      profile: "decode",
      is: "decode-filter | active-request-scorer 2, prefix-cache-scorer 3 | max-score-picker",
    },
    {
      guide: "wide-expert-parallelism",
      profile: "decode",
      is: "decode-filter | active-request-scorer 1 | max-score-picker",
    },
    {
      guide: "multimodal-epd",
      profile: "encode",
      is: "encode-filter | queue-scorer 2 | max-score-picker",
    },
    { guide: "probabilistic-admitter", is: " |  | random-picker" },
  ] as const satisfies readonly { guide: string; profile?: string; is: string }[])(
    "of $guide: $is",
    (row) => {
      expect(profileOf(row.guide, "profile" in row ? row.profile : undefined)).toBe(row.is);
    },
  );
});

describe("sections", () => {
  it("of flow-control are kept with its quantities and policies", () => {
    const { flowControl, featureGates } = configOf("flow-control");
    expect(featureGates).toContain("flowControl=true");
    expect(flowControl).toMatchObject({
      maxBytes: 10 * 2 ** 30,
      maxRequests: 1_000,
      defaultRequestTTL: "60s",
      saturationDetector: { pluginRef: "concurrency-detector" },
      priorityBands: [
        { priority: 100, maxRequests: 500, fairnessPolicyRef: "round-robin-fairness-policy" },
        { priority: 0, maxRequests: 200 },
        { priority: -10, maxRequests: 50, maxBytes: 1_000_000_000 },
      ],
    });
  });

  it("of no-kubernetes name the file and one source", () => {
    const config = configOf("no-kubernetes");
    expect(config.dataLayer).toMatchObject({
      injectDefaults: false,
      discovery: { pluginRef: "file-discovery" },
      sources: [{ pluginRef: "metrics-source", extractors: [{ pluginRef: "metrics-extractor" }] }],
    });
    expect(specOf(config, "file-discovery").parameters["path"]).toBe("/etc/epp/endpoints.yaml");
  });

  it("of tiered-prefix-cache have two guesses with capacities of their own", () => {
    const config = configOf("tiered-prefix-cache");
    expect(specOf(config, "cpu-prefix-cache-producer").parameters).toMatchObject({
      autoTune: false,
      lruCapacityPerServer: 82_000,
    });
    expect(specOf(config, "gpu-prefix-cache-producer").parameters).toMatchObject({
      autoTune: true,
    });
  });

  it("of predicted-latency-slo have what their predictions rest on", () => {
    const producers = specsOfKind(configOf("predicted-latency-slo"), "data-producer");
    expect(producers.map(({ name }) => name).sort()).toEqual([
      "approx-prefix-cache-producer",
      "inflight-load-producer",
      "predicted-latency-producer",
    ]);
  });
});

const ROLE = "llm-d.ai/role";

/** Endpoints by label, and a picker over them. */
class GuidePool {
  readonly table = new EndpointTable();
  readonly #picker: EndpointPicker;
  #seed = 1;

  constructor(guide: string, labels: readonly Readonly<Record<string, string>>[]) {
    this.#picker = new EndpointPicker(configOf(guide));
    for (const [n, each] of labels.entries()) {
      const address = `10.0.0.${n + 1}:8000`;
      this.table.add({ id: `default/e${n}`, address, engine: "vllm", labels: each });
      this.load(n, 0);
    }
  }

  load(slot: number, waiting: number): void {
    this.table.applySample(slot, { waiting, running: waiting, kvUsage: 0.1 }, NOW_MS);
  }

  pick(request: Partial<InferenceRequest> = {}, cached?: { slot: number; blocks: number }): Picked {
    const picked = this.#picker.pick({
      request: inferenceRequest({ keys: promptKeys("x".repeat(4_096)), ...request }),
      endpoints: this.table.columns,
      pool: this.table,
      prefixSources: {
        approximate: (_, matched) => {
          matched.fill(0);
          if (cached !== undefined) matched[cached.slot] = cached.blocks;
        },
      },
      nowMs: NOW_MS,
      staleAfterMs: STALE_AFTER_MS,
      seed: this.#seed++,
    });
    if (!picked.ok) throw new Error(picked.detail);
    return picked;
  }
}

describe("decisions", () => {
  it("of pd-disaggregation split every request, by load among those of a role", () => {
    const pool = new GuidePool("pd-disaggregation", [
      { [ROLE]: "prefill" },
      { [ROLE]: "prefill" },
      { [ROLE]: "decode" },
      {},
    ]);
    pool.load(0, 9);
    for (let i = 0; i < 8; i++) {
      const picked = pool.pick();
      expect([2, 3]).toContain(picked.slots[0]);
      expect([...picked.prefill!]).toEqual([1]);
    }
  });

  it("of pd-by-prefix split only what is not cached where it will be decoded", () => {
    const pool = new GuidePool("pd-by-prefix", [{ [ROLE]: "prefill" }, { [ROLE]: "decode" }]);
    expect([...pool.pick({ promptTokens: 1_024 }).prefill!]).toEqual([0]);
    const blocks = promptKeys("x".repeat(4_096)).length / 2;
    const cached = pool.pick({ promptTokens: blocks * 64 }, { slot: 1, blocks });
    expect(cached).toMatchObject({ ok: true });
    expect(cached.prefill).toBeUndefined();
    // Fewer tokens than the threshold are not worth it.
    expect(pool.pick({ promptTokens: 15, keys: new Uint32Array(0) }).prefill).toBeUndefined();
  });

  it("of wide-expert-parallelism split every request, and decode by requests in flight alone", () => {
    const pool = new GuidePool("wide-expert-parallelism", [
      { [ROLE]: "prefill" },
      { [ROLE]: "prefill" },
      { [ROLE]: "decode" },
      { [ROLE]: "decode" },
    ]);
    pool.load(1, 9);
    pool.table.dispatched(2, 100, NOW_MS);
    for (let i = 0; i < 8; i++) {
      // What is cached where it is decoded does not count, and what is where it is prefilled does.
      const picked = pool.pick({}, { slot: i % 2 === 0 ? 2 : 0, blocks: 16 });
      expect([...picked.slots]).toEqual([3]);
      expect([...picked.prefill!]).toEqual([0]);
      expect(picked.prefillNext).toBe(1);
    }
    pool.load(0, 30);
    expect([...pool.pick().prefill!]).toEqual([1]);
    // Prefix 3 of 3 won, queue 2 of 2 lost.
    expect([...pool.pick({}, { slot: 0, blocks: 16 }).prefill!]).toEqual([0]);
  });

  it.for(["pd-disaggregation", "wide-expert-parallelism"])(
    "of %s know endpoints that do several stages, and split nothing for them alone",
    (guide) => {
      const both = new GuidePool(guide, [{ [ROLE]: "both" }, { [ROLE]: "prefill-decode" }]);
      for (let i = 0; i < 8; i++) {
        const { slots, prefill } = both.pick();
        expect(prefill?.[0]).not.toBe(slots[0]);
      }
      const other = new GuidePool(guide, [{ [ROLE]: "prefill" }, { [ROLE]: "prefill-decode" }]);
      other.load(1, 9);
      const split = other.pick();
      expect([split.slots[0], split.prefill![0]]).toEqual([1, 0]);
      expect(split).not.toHaveProperty("prefillNext");
      const alone = new GuidePool(guide, [{ [ROLE]: "encode-prefill-decode" }]);
      const whole = alone.pick();
      expect([...whole.slots]).toEqual([0]);
      expect(whole).not.toHaveProperty("prefill");
      expect(whole).not.toHaveProperty("prefillNext");
    },
  );

  it("of data-parallel name the rank, which is asked itself", () => {
    const pool = new GuidePool("data-parallel", [{}, {}]);
    const picked = pool.pick({}, { slot: 1, blocks: 16 });
    expect([...picked.slots]).toEqual([1]);
    expect(picked.dataParallelPort).toBe(8_000);
  });

  it("of multimodal-epd encode apart what has images, and nothing else", () => {
    const pool = new GuidePool("multimodal-epd", [
      { [ROLE]: "encode" },
      { [ROLE]: "prefill" },
      { [ROLE]: "decode" },
    ]);
    const text = pool.pick();
    expect([...text.slots]).toEqual([2]);
    expect(text.encode).toBeUndefined();
    const media = { hashes: new Uint32Array([1, 2]), tokens: new Uint32Array([900]) };
    const image = pool.pick({ media });
    expect([...image.encode!]).toEqual([0]);
    expect([...image.prefill!]).toEqual([1]);
    expect([...image.slots]).toEqual([2]);
  });

  it("of optimized-baseline follow the cache until load weighs more", () => {
    const pool = new GuidePool("optimized-baseline", [{}, {}, {}]);
    expect(pool.pick({}, { slot: 1, blocks: 16 }).slots[0]).toBe(1);
    pool.load(1, 50);
    // Queue 2 of 2 lost, prefix 3 of 3 won.
    expect(pool.pick({}, { slot: 1, blocks: 16 }).slots[0]).toBe(1);
    expect(pool.pick({}, { slot: 1, blocks: 8 }).slots[0]).not.toBe(1);
  });

  it("of payload-agnostic go back to the session's endpoint", () => {
    const pool = new GuidePool("payload-agnostic", [{}, {}]);
    const token = Buffer.from("default/e1").toString("base64");
    for (let i = 0; i < 5; i++)
      expect(pool.pick({ headers: { "x-session-token": token } }).slots[0]).toBe(1);
  });

  it("of lora-affinity prefer who has the adapter", () => {
    const pool = new GuidePool("lora-affinity", [{}, {}, {}]);
    pool.load(2, 1);
    pool.table.applyAdapters(2, { active: ["adapter-a"], waiting: [], maxActive: 4 });
    for (let i = 0; i < 5; i++) expect(pool.pick({ model: "adapter-a" }).slots[0]).toBe(2);
  });
});
