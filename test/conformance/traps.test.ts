// What surprises in llm-d: avoided here, or kept so that configurations mean the same. trap-table.ts has
// all of it, with where the rest is tested.

import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { EndpointPicker } from "../../src/scheduler/endpoint-picker.ts";
import { ApproximatePrefix } from "../../src/scheduler/kv/approximate-prefix.ts";
import { CONTENT_BLOCK_BYTES, CONTENT_BLOCK_TOKENS } from "../../src/scheduler/kv/content-keys.ts";
import { PrefixTree } from "../../src/scheduler/kv/prefix-tree.ts";
import type { Admitter, Decider } from "../../src/scheduler/plugin.ts";
import { utilizationSaturation } from "../../src/scheduler/plugins/filter/utilization-detector.ts";
import { PLUGINS, pluginOf } from "../../src/scheduler/registry.ts";
import {
  createController,
  drain,
  NOW_MS,
  queued,
  usageLimitOf,
} from "../scheduler/support/flow-control.ts";
import { pickContext, STALE_AFTER_MS } from "../scheduler/support/pick-context.ts";
import { createPlugin, createScorer, keptBy, scoresOf } from "../scheduler/support/plugins.ts";
import { promptKeys, TestPool } from "../scheduler/support/pool.ts";
import { schedulerConfigSchema } from "../../src/scheduler/config/schema.ts";
import { dropError, statusOf } from "../../src/worker/openai/errors.ts";
import { HERE, TRAPS, TRAPS_COUNT } from "./trap-table.ts";

const source = readFileSync(HERE, "utf8");

describe("the table of traps", () => {
  it("has each of them, and no other", () => {
    const numbers = Array.from({ length: TRAPS_COUNT }, (_, i) => i + 1);
    expect(Object.keys(TRAPS).map(Number)).toEqual(numbers);
  });

  it.for(Object.entries(TRAPS))(
    "tells where %i is held",
    ([number, { file, outcome, because }]) => {
      expect(existsSync(file)).toBe(true);
      expect(because !== undefined).toBe(outcome === "cannot arise");
      // What is held here is under its number here, and nothing else is.
      expect(source.includes(`describe("${number}: `)).toBe(file === HERE);
    },
  );
});

describe("1: an admitter's denial is answered with 500", () => {
  it("avoided: it is a refusal for lack of room, which is a 429", () => {
    const config = schedulerConfigSchema.parse({
      plugins: [{ type: "probabilistic-admitter" }, { type: "max-score-picker" }],
      schedulingProfiles: [{ name: "default", plugins: [{ pluginRef: "max-score-picker" }] }],
    });
    const pool = new TestPool(1, config);
    const request = { ...pickContext([{}]).request, priority: -1 };
    // Nothing was ever sampled: the pool counts as full.
    expect(pool.pick("x", { request })).toMatchObject({ reason: "rejected-saturated" });
  });
});

describe("5: blocks have 64 tokens at least, and capacity is counted in the engine's blocks", () => {
  it("kept, the size: blocks have 64 tokens always, and the check says so", () => {
    const plugin = pluginOf("approx-prefix-cache-producer");
    const notesOf = (params: object) => plugin.notes!(plugin.params.parse(params));
    expect(CONTENT_BLOCK_TOKENS).toBe(64);
    expect(notesOf({ blockSizeTokens: 16 })).toEqual([]);
    expect(notesOf({ blockSizeTokens: 128 }).join(" ")).toContain("64 tokens");
  });

  it("avoided, the capacity: an engine of 40 blocks of 16 tokens holds 10 of ours", () => {
    const prefix = new ApproximatePrefix(new PrefixTree(), 1);
    prefix.learn(promptKeys("x".repeat(20 * CONTENT_BLOCK_BYTES)), 0, 40 * 16);
    expect(prefix.tree.heldBlocks(0)).toBe(10);
  });

  it("avoided: a request longer than the index leaves nothing behind of what it evicts", () => {
    const prefix = new ApproximatePrefix(new PrefixTree(), 1);
    const keys = promptKeys("x".repeat(20 * CONTENT_BLOCK_BYTES));
    prefix.learn(keys, 0, 10 * CONTENT_BLOCK_TOKENS);
    const matched = new Int32Array(1);
    prefix.tree.match(keys, matched);
    expect(matched[0]).toBe(10);
    expect(prefix.tree.blockCount).toBe(10);
  });
});

describe("6: a match is not strictly contiguous", () => {
  it("avoided: it ends at the first block that the endpoint does not hold", () => {
    const tree = new PrefixTree();
    const keys = promptKeys("x".repeat(4 * CONTENT_BLOCK_BYTES));
    tree.insert(keys, 0);
    tree.insert(keys, 1);
    tree.removeHolder(keys.subarray(2, 4), 1);
    const matched = new Int32Array(2);
    tree.match(keys, matched);
    expect([...matched]).toEqual([4, 1]);
  });
});

describe("7: what was never scraped looks idle", () => {
  const rows = [{ ageMs: Infinity }, { queueDepth: 1, runningRequests: 1, kvUsage: 0.1 }];

  it.for([
    "queue-scorer",
    "running-requests-size-scorer",
    "kv-cache-utilization-scorer",
    "load-aware-scorer",
    "latency-scorer",
  ])("avoided in %s", (type) => {
    const [neverScraped, loaded] = scoresOf(createScorer(type), pickContext(rows));
    expect(neverScraped).toBe(0);
    expect(loaded).toBeGreaterThan(0);
  });

  it("avoided in adapters", () => {
    const lora = { active: ["model-a"], maxActive: 2 };
    const context = pickContext([{ lora, ageMs: Infinity }, { lora }]);
    expect(scoresOf(createScorer("lora-affinity-scorer"), context)).toEqual([0, 1]);
  });

  it("avoided in filters of load", () => {
    const conditions = [{ metric: "waiting-queue", maxValue: 5 }];
    expect(keptBy("utilization-filter", { conditions }, pickContext(rows))).toEqual([1]);
    expect(keptBy("utilization-detector", {}, pickContext(rows))).toEqual([1]);
  });

  it("avoided where a holder of the prompt waits", () => {
    const holder = { matchedBlocks: 1, inFlightTokens: 1e9 };
    const context = pickContext([holder, { ageMs: Infinity }], { totalBlocks: 1 });
    expect(keptBy("prefix-cache-affinity-filter", {}, context)).toEqual([0]);
  });

  it("avoided in admission", () => {
    const context = pickContext([{ ageMs: Infinity, kvUsage: 0 }], {
      request: { priority: -1, ttftSloMs: 1 },
      data: {
        "latency-prediction": {
          isPredicted: Uint8Array.of(1),
          ttftMs: Float64Array.of(9),
          tpotMs: Float64Array.of(9),
          ttftHeadroomMs: Float64Array.of(-8),
          tpotHeadroomMs: Float64Array.of(0),
          dispatchedRequests: Int32Array.of(0),
        },
      },
    });
    const admitter = createPlugin("latency-slo-admitter") as Admitter;
    expect(admitter.admit(context)).toContain("no endpoint is expected");
  });
});

describe("8: a detector calls a sample stale after 200 ms, the pool after 2 s", () => {
  it("avoided: a sample that the pool believes is young for the detector, too", () => {
    const context = pickContext([{ ageMs: STALE_AFTER_MS }, { queueDepth: 99 }]);
    expect(keptBy("utilization-detector", {}, context)).toEqual([0]);
  });
});

describe("9: one detector's filter keeps all when all are full, the other's nobody", () => {
  it("kept: both are as in llm-d", () => {
    const full = [{ queueDepth: 99, inFlightRequests: 100 }];
    expect(keptBy("utilization-detector", {}, pickContext(full))).toEqual([0]);
    expect(keptBy("concurrency-detector", {}, pickContext(full))).toEqual([]);
  });
});

describe("12: saturation ignores the request's subset", () => {
  it("avoided: it is that of the candidates", () => {
    const limits = { queueDepthThreshold: 5, kvCacheUtilThreshold: 0.8, staleAfterMs: 1_000 };
    const context = pickContext([{ queueDepth: 5 }, {}, {}], { candidates: [0] });
    expect(utilizationSaturation(context, limits)).toBe(1);
  });
});

describe("13: the first data producer that fails keeps all later ones from telling anything", () => {
  it("avoided: what it tells is absent in this decision, and the others are asked", () => {
    const config = schedulerConfigSchema.parse({
      plugins: [
        { type: "approx-prefix-cache-producer" },
        { type: "inflight-load-producer" },
        { type: "prefix-cache-scorer" },
        { type: "active-request-scorer" },
      ],
    });
    const failed: string[] = [];
    const picker = new EndpointPicker(
      config,
      (name, plugin) => {
        const produce = () => {
          throw new Error("nothing to tell");
        };
        return name === "approx-prefix-cache-producer"
          ? Object.assign(plugin, { produce })
          : plugin;
      },
      (type) => failed.push(type),
    );
    const pool = new TestPool(2, config, picker);
    pool.sampleAll();
    pool.prefix.learn(promptKeys("x".repeat(1_000)), 0, 0);
    pool.table.dispatched(0, 10, 0);
    // Slot 0 holds the prompt, which nobody tells; it is busy, which the other producer tells.
    const picked = pool.pick("x".repeat(1_000));
    expect(picked).toMatchObject({ ok: true, slots: Int32Array.of(1), totalBlocks: 0 });
    expect(failed).toEqual(["approx-prefix-cache-producer"]);
  });

  it("avoided: who reads what nobody tells scores 0, and the others have their say", () => {
    const silent = { ...pickContext([{}, { queueDepth: 1 }]), data: { get: () => undefined } };
    for (const type of ["prefix-cache-scorer", "token-load-scorer", "active-request-scorer"])
      expect(scoresOf(createScorer(type), silent)).toEqual([0, 0]);
    expect(scoresOf(createScorer("queue-scorer"), silent)).toEqual([1, 0]);
  });
});

describe("18: the hash of precise prefixes is called xxh64, and xxhash in a release note", () => {
  it("kept: xxhash is refused", () => {
    const { params } = pluginOf("precise-prefix-cache-producer");
    const given = (hashAlgorithm: string) => ({ tokenProcessorConfig: { hashAlgorithm } });
    expect(params.safeParse(given("xxh64")).success).toBe(true);
    expect(params.safeParse(given("xxhash")).success).toBe(false);
  });
});

describe("21: what documentation says and code does not do", () => {
  it("avoided: the role encode-decode is taken for both of its stages", () => {
    const context = () => pickContext([{ labels: { "llm-d.ai/role": "encode-decode" } }]);
    expect(keptBy("encode-filter", {}, context())).toEqual([0]);
    expect(keptBy("decode-filter", {}, context())).toEqual([0]);
    expect(keptBy("prefill-filter", {}, context())).toEqual([]);
  });

  it("kept: headroom raises the cache's limit past 1", () => {
    const context = pickContext([{ kvUsage: 1 }, { queueDepth: 99 }]);
    expect(keptBy("utilization-detector", { headroom: 0.3 }, context)).toEqual([0]);
  });
});

describe("22: no-hit-lru-scorer says nothing once anybody holds one block", () => {
  it("kept: its weight is a constant then", () => {
    const context = pickContext([{ matchedBlocks: 1 }, {}, {}], { totalBlocks: 100 });
    expect(scoresOf(createScorer("no-hit-lru-scorer"), context)).toEqual([0.5, 0.5, 0.5]);
  });
});

describe("23: load-aware-scorer does not score above a half", () => {
  it("kept: weights of configurations count on it", () => {
    expect(scoresOf(createScorer("load-aware-scorer"), pickContext([{}]))).toEqual([0.5]);
  });
});

describe("26: the filter for tests turns every request without its header away", () => {
  it("kept, and the configuration check says so", () => {
    expect(keptBy("header-based-testing-filter", {}, pickContext([{}]))).toEqual([]);
    const plugin = pluginOf("header-based-testing-filter");
    expect(plugin.notes!({}).join(" ")).toContain("turned away");
  });
});

describe("29: plugins that need allowExperimentalPlugins", () => {
  it("kept: the same ones are alpha", () => {
    const alpha = PLUGINS.filter((plugin) => "stability" in plugin && plugin.stability === "alpha");
    const types = alpha.map(({ type }) => type as string);
    for (const type of [
      "session-affinity-filter",
      "multicluster-session-affinity-filter",
      "endpoint-attribute-filter",
      "topology-affinity-filter",
      "utilization-filter",
      "header-profile-handler",
      "disaggregatedset-rollout-screener",
      "session-affinity-scorer",
      "header-label-affinity-scorer",
      "endpoint-attribute-scorer",
      "topology-affinity-scorer",
      "multicluster-queue-scorer",
      "multicluster-kv-cache-utilization-scorer",
      "multicluster-prefix-cache-scorer",
      "burst-prefix-cache-producer",
      "p2p-source-producer",
      "multicluster-approx-prefix-cache-producer",
      "agent-identity",
    ])
      expect(types).toContain(type);
  });
});

describe("deciders that read the wrong producer", () => {
  it("avoided: prefix-based-pd-decider reads the pool's best knowledge", () => {
    const context = pickContext([{ matchedBlocks: 0 }], {
      totalBlocks: 10,
      request: { promptTokens: 640 },
    });
    const decider = createPlugin("prefix-based-pd-decider", { nonCachedTokens: 64 }) as Decider;
    expect(decider.decide(context, 0)).toBe(true);
    // What a precise producer says is what the context's prefix is; the approximate one still says 0.
    context.prefix = { ...context.prefix, matchedBlocks: Int32Array.of(10) };
    expect(decider.decide(context, 0)).toBe(false);
  });
});

describe("10: a priority that nobody declared is taken for 0", () => {
  it("avoided: a stray negative one is served after a declared one above it", () => {
    const controller = createController({ bands: { "-1": {} } });
    const [stray, declared] = [queued({ priority: -5 }), queued({ priority: -1 })];
    for (const request of [stray, declared]) controller.enqueue(request, NOW_MS);
    expect(drain(controller)).toEqual([declared.requestId, stray.requestId]);
  });
});

describe("11: ceilings are computed over bands that are there, not over those in use", () => {
  it("kept for declared ones, or nothing would be held back for them; avoided for the others", () => {
    const usageLimit = usageLimitOf("priority-holdback-policy", { minCeiling: 0.5 });
    const controller = createController({ usageLimit, bands: { 10: {} } });
    const stray = queued({ priority: -9 });
    controller.enqueue(stray, NOW_MS);
    controller.cancel(stray.requestId, 0, NOW_MS);
    controller.enqueue(queued(), NOW_MS);
    controller.next(NOW_MS, { saturation: 1 });
    const ceilings = controller.snapshot(NOW_MS).bands.map(({ ceiling }) => ceiling);
    expect(ceilings).toEqual([1, 0.5, null]);
  });
});

describe("24: the default fairness policy ignores who asks", () => {
  it("avoided: where nothing is written, flows are served by tokens", () => {
    const { flowControl } = schedulerConfigSchema.parse({ featureGates: ["flowControl"] });
    expect(flowControl.defaultPriorityBand.fairnessPolicyRef).toBe("weighted-token-fairness");
    const controller = createController();
    for (const fairnessId of ["noisy", "noisy", "noisy", "quiet"])
      controller.enqueue(queued({ fairnessId }), NOW_MS);
    const order = [1, 2].map(() => controller.next(NOW_MS, { saturation: 0 })?.fairnessId);
    expect(order).toEqual(["noisy", "quiet"]);
  });
});

describe("27: a client that has left is counted as unavailability", () => {
  it("avoided: 499, which is no failure of ours", () => {
    const controller = createController();
    const request = queued();
    controller.enqueue(request, NOW_MS);
    const reason = "rejected-context-cancelled";
    expect(controller.cancel(request.requestId, 0, NOW_MS)).toMatchObject({ reason });
    expect(statusOf(dropError(reason, 0).code)).toBe(499);
  });
});
