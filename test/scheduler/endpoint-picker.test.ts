// Decisions of the default profile over a pool, as its users would notice them.

import { describe, expect, it } from "vitest";
import { schedulerConfigSchema } from "../../src/scheduler/config/schema.ts";
import { EndpointPicker, type Picked } from "../../src/scheduler/endpoint-picker.ts";
import { ENDPOINTS_MAX } from "../../src/scheduler/model/endpoint-table.ts";
import type { Dropped } from "../../src/scheduler/outcome.ts";
import { inferenceRequest, NOW_MS, STALE_AFTER_MS } from "./support/pick-context.ts";
import { promptKeys, TestPool } from "./support/pool.ts";
import { profileConfig } from "./support/profile-config.ts";

const LONG = "You are a patient assistant who answers in full sentences. ".repeat(100);

function slotsOf(outcome: Picked | Dropped): number[] {
  if (!outcome.ok) throw new Error(outcome.detail);
  return [...outcome.slots];
}

describe("EndpointPicker", () => {
  it("sends prompts that share a long prefix to the endpoint that holds it", () => {
    const pool = new TestPool(8);
    pool.sampleAll();
    const first = pool.send(`${LONG}What is a KV cache?`);
    for (let i = 0; i < 20; i++) {
      pool.sampleAll();
      expect(pool.send(`${LONG}Question ${i}`)).toBe(first);
    }
  });

  it("says how much of the prompt the first choice holds", () => {
    const pool = new TestPool(2);
    pool.sampleAll();
    pool.send(LONG);
    pool.sampleAll();
    const picked = pool.pick(`${LONG}${"and more ".repeat(100)}`);
    expect(picked).toMatchObject({
      matchedBlocks: promptKeys(LONG).length / 2,
      totalBlocks: promptKeys(`${LONG}${"and more ".repeat(100)}`).length / 2,
    });
  });

  it("avoids a deep queue and a full cache in spite of the prefix held there", () => {
    const pool = new TestPool(4);
    pool.sampleAll();
    const holder = pool.send(LONG);
    pool.sampleAll({ [holder]: { waiting: 40, kvUsage: 1 } });
    expect(slotsOf(pool.pick(LONG))[0]).not.toBe(holder);
  });

  it("spreads cold prompts over all endpoints", () => {
    const pool = new TestPool(6);
    const counts = new Map<number, number>();
    for (let i = 0; i < 60; i++) {
      pool.sampleAll();
      const slot = pool.send(`${i} is a prompt nobody sent before. `.repeat(40));
      counts.set(slot, (counts.get(slot) ?? 0) + 1);
    }
    expect([...counts.values()]).toEqual([10, 10, 10, 10, 10, 10]);
  });

  it("spreads a burst between two samples, each pick seeing the ones before it", () => {
    const profile = { scorers: [{ type: "queue-scorer" }] };
    const pool = new TestPool(5, profileConfig(profile));
    pool.sampleAll({ 0: { waiting: 3 } });
    const counts = [0, 0, 0, 0, 0];
    // Four endpoints take three each before the fifth, which had three already, takes its share.
    for (let i = 0; i < 17; i++) counts[pool.send(`${i}`)]! += 1;
    expect(counts).toEqual([1, 4, 4, 4, 4]);
  });

  it("prefers a busy endpoint it knows to one it has never heard of", () => {
    const pool = new TestPool(2);
    pool.table.applySample(1, { waiting: 50, running: 50, kvUsage: 0.99 }, NOW_MS);
    pool.prefix.learn(promptKeys(LONG), 0, 0);
    expect(slotsOf(pool.pick(LONG))).toEqual([1]);
  });

  it("still serves when no endpoint is known to be fresh", () => {
    const pool = new TestPool(3);
    expect(slotsOf(pool.pick("x"))).toHaveLength(3);
    pool.sampleAll();
    const later = { nowMs: NOW_MS + STALE_AFTER_MS + 1 };
    expect(slotsOf(pool.pick("x", later))).toHaveLength(3);
  });

  it("does not take an old sample for an idle endpoint where no filter removes it", () => {
    const config = profileConfig({ filters: [] });
    const pool = new TestPool(2, config);
    pool.table.applySample(0, { waiting: 0, kvUsage: 0 }, NOW_MS - STALE_AFTER_MS - 1);
    pool.table.applySample(1, { waiting: 9, kvUsage: 0.5 }, NOW_MS);
    // The cold-prompt scorer favours slot 0 by 2; the known loads of slot 1 are worth 2 + 1.
    expect(slotsOf(pool.pick("x"))[0]).toBe(1);
  });

  it("breaks ties by the seed alone", () => {
    const config = profileConfig({ scorers: [] });
    const pool = new TestPool(16, config);
    pool.sampleAll();
    const bySeed = (seed: number) => slotsOf(pool.pick("x", { seed }))[0];
    expect(bySeed(7)).toBe(bySeed(7));
    expect(new Set(Array.from({ length: 200 }, (_, seed) => bySeed(seed))).size).toBe(16);
  });

  it("leaves excluded endpoints out", () => {
    const pool = new TestPool(3);
    pool.sampleAll();
    expect(slotsOf(pool.pick("x", { exclude: [0, 2] }))).toEqual([1]);
    // -1 stands for an address the pool no longer has.
    expect(slotsOf(pool.pick("x", { exclude: [-1] }))).toHaveLength(3);
  });

  it.for([
    { subset: ["10.0.0.2:8000", "10.0.0.1:8000"], slot: 2 },
    { subset: ["10.0.0.1"], slot: 1 },
    { subset: ["10.0.0.1:8001"], slot: undefined },
    { subset: ["10.9.9.9:8000"], slot: undefined },
    { subset: [], slot: undefined },
  ])("chooses within the subset $subset only", ({ subset, slot }) => {
    const pool = new TestPool(4);
    pool.sampleAll({ 1: { waiting: 9, kvUsage: 0.9 } });
    const request = inferenceRequest({ subset, keys: promptKeys("x") });
    const picked = pool.pick("x", { request });
    const chosen = picked.ok ? picked.slots[0] : picked.reason;
    expect(chosen).toBe(slot ?? "rejected-no-endpoints");
  });

  it("chooses among those that are not spared, and falls back on the others", () => {
    const pool = new TestPool(6);
    pool.sampleAll();
    const spared = Uint8Array.from([1, 1, 0, 1, 0, 1]);
    const firsts = Array.from({ length: 20 }, (_, seed) => {
      const slots = slotsOf(pool.pick(LONG, { spared, seed }));
      expect(new Set(slots).size).toBe(4);
      expect(new Set(slots.slice(0, 2))).toEqual(new Set([2, 4]));
      return slots[0]!;
    });
    expect(new Set(firsts)).toEqual(new Set([2, 4]));
  });

  it("may spare nobody where a scorer goes by more than loads and prefixes, or the model is an adapter", () => {
    const scorers = [{ type: "latency-cost-scorer" }, { type: "prefix-cache-scorer" }];
    const maySpare = (pool: TestPool) => pool.picker.maySpare(pool.input(LONG));
    const pool = new TestPool(3, profileConfig({ scorers }));
    pool.sampleAll();
    expect(maySpare(pool)).toBe(true);
    pool.table.applyAdapters(1, { active: ["model-a"], waiting: [], maxActive: 4 });
    expect(maySpare(pool)).toBe(false);
    for (const type of ["lora-affinity-scorer", "session-affinity-scorer"])
      expect(maySpare(new TestPool(3, profileConfig({ scorers: [...scorers, { type }] })))).toBe(
        false,
      );
  });

  it("sends to the spared where filters let nobody else pass", () => {
    const pool = new TestPool(3);
    pool.sampleAll();
    pool.table.eject(0, NOW_MS + 60_000);
    const spared = Uint8Array.from([0, 1, 1]);
    expect(slotsOf(pool.pick(LONG, { spared }))).not.toContain(0);
  });

  it("refuses when there is no endpoint, or all are excluded", () => {
    const refusal = { ok: false, reason: "rejected-no-endpoints" };
    expect(new TestPool(0).pick("x")).toMatchObject(refusal);
    expect(new TestPool(2).pick("x", { exclude: [0, 1] })).toMatchObject(refusal);
  });

  it("forgets an endpoint whose slot is given to another", () => {
    const pool = new TestPool(3);
    pool.sampleAll();
    const slot = pool.send(LONG);
    pool.table.remove(slot);
    pool.picker.onEndpointRemoved(slot);
    pool.prefix.removeEndpoint(slot);
    pool.table.add({ id: "default/new", address: "10.9.9.9:1", engine: "vllm", labels: {} });
    pool.sampleAll();
    expect(pool.pick(LONG)).toMatchObject({ matchedBlocks: 0, ok: true });
  });

  it("forgets, with an endpoint, the cold prompts it was given", () => {
    const pool = new TestPool(2);
    pool.sampleAll();
    expect(pool.send("first")).toBe(0);
    pool.table.remove(0);
    pool.picker.onEndpointRemoved(0);
    pool.table.add({ id: "default/new", address: "10.9.9.9:1", engine: "vllm", labels: {} });
    pool.sampleAll();
    // Neither was given a cold prompt, so slot order decides; a memory of the first would say 1.
    expect(pool.send("second")).toBe(0);
  });

  it("tells plugins of an engine that has started anew", () => {
    const pool = new TestPool(2, profileConfig());
    pool.sampleAll();
    expect(pool.send("first")).toBe(0);
    pool.picker.onEndpointRestarted(0);
    pool.sampleAll();
    expect(pool.send("second")).toBe(0);
  });

  it("returns the configured number of endpoints, best first", () => {
    const pool = new TestPool(8);
    pool.sampleAll({ 1: { waiting: 3 }, 2: { waiting: 1 }, 3: { waiting: 2 } });
    expect(slotsOf(pool.pick("x"))).toHaveLength(4);
    const config = profileConfig({ picker: { type: "max-score-picker" } });
    const single = new TestPool(8, config);
    expect(slotsOf(single.pick("x"))).toHaveLength(1);
  });

  it("decides over as many endpoints as a pool may have", () => {
    const pool = new TestPool(ENDPOINTS_MAX);
    pool.sampleAll(Object.fromEntries(Array.from({ length: 1023 }, (_, n) => [n, { waiting: 1 }])));
    pool.prefix.learn(promptKeys(LONG), ENDPOINTS_MAX - 1, 0);
    expect(slotsOf(pool.pick(LONG))[0]).toBe(ENDPOINTS_MAX - 1);
  });
});

describe("a picker whose choices are only looked at", () => {
  /** Two stages without roles; the prefill stage chooses by `scorers`, and sessions stay there. */
  const split = (...scorers: { pluginRef: string; weight?: number }[]) =>
    schedulerConfigSchema.parse({
      plugins: [
        { type: "always-disagg-pd-decider" },
        {
          type: "disagg-profile-handler",
          parameters: { deciders: { prefill: "always-disagg-pd-decider" } },
        },
        { type: "queue-scorer" },
        { type: "kv-cache-utilization-scorer" },
        { type: "active-request-scorer" },
        {
          type: "session-affinity-scorer",
          parameters: {
            strategy: "session_id",
            sessionIdConfig: { sources: [{ header: "x-session" }] },
            profileName: "prefill",
          },
        },
        { type: "max-score-picker" },
      ],
      schedulingProfiles: [
        { name: "prefill", plugins: [...scorers, { pluginRef: "max-score-picker" }] },
        {
          name: "decode",
          plugins: [{ pluginRef: "active-request-scorer" }, { pluginRef: "max-score-picker" }],
        },
      ],
    });

  it("learns where every stage really went, not where it would have sent it", () => {
    const pool = new TestPool(3, split({ pluginRef: "queue-scorer" }));
    const shadow = new EndpointPicker(
      split(
        { pluginRef: "kv-cache-utilization-scorer" },
        { pluginRef: "session-affinity-scorer", weight: 10 },
      ),
    );
    // By queues prompts are computed at 1, by caches at 2. All answers come from 0.
    pool.sampleAll({ 0: { waiting: 9, kvUsage: 0.9 }, 1: { kvUsage: 0.5 }, 2: { waiting: 5 } });
    for (const slot of [1, 2]) pool.table.dispatched(slot, 1, NOW_MS);
    const prefills = (session: string) => {
      const request = inferenceRequest({ requestId: session, headers: { "x-session": session } });
      const real = pool.pick("", { request });
      const seen = shadow.pick({ ...pool.input(""), request, sentTo: real });
      return [real, seen].map((outcome) => (outcome.ok ? [...outcome.prefill!] : outcome.detail));
    };
    expect(prefills("s")).toEqual([[1], [2]]);
    expect(prefills("s")).toEqual([[1], [1]]);
    expect(prefills("other")).toEqual([[1], [2]]);
  });

  it("learns nothing of a request that went nowhere", () => {
    const pool = new TestPool(2, profileConfig());
    const shadow = new EndpointPicker(profileConfig());
    pool.sampleAll();
    const dropped = { ok: false, reason: "rejected-saturated", detail: "" } as const;
    const ask = () => slotsOf(shadow.pick({ ...pool.input("cold"), seed: 1, sentTo: dropped }));
    expect(ask()).toEqual(ask());
  });
});
