// The benchmarks of pure code, with next to no time: what they print, not what comes out.

import { describe, expect, it } from "vitest";
import { createChatBody } from "../../bench/conversation.ts";
import { measureDecision } from "../../bench/decision.ts";
import { measureDigest } from "../../bench/digest.ts";
import { measureFlowControl } from "../../bench/flow-control.ts";
import { measureKvEventDecoding } from "../../bench/kv-event-decoding.ts";
import { measureKvIngest, measureKvMemory } from "../../bench/kv-stream/ingest.ts";
import type { Measurement } from "../../bench/measure.ts";
import { measurePairDigest } from "../../bench/pair-digest.ts";
import { measurePick } from "../../bench/pick.ts";
import { measurePrefixTree } from "../../bench/prefix-tree.ts";
import { measureQueueDrain } from "../../bench/queue/drain.ts";
import { measureResidency } from "../../bench/residency.ts";
import { measureTokenKeys } from "../../bench/token-keys.ts";

const TIMING = { rounds: 1, roundMsMin: 1 };

async function metricsOf(
  measurements: AsyncIterable<Measurement> | Iterable<Measurement>,
): Promise<Record<string, string>> {
  const units: Record<string, string> = {};
  for await (const { bench, metric, value, unit, ratio } of measurements) {
    expect(value).toBeGreaterThan(0);
    expect(ratio ?? 1).toBeGreaterThan(0);
    units[`${bench} ${metric}`] = unit;
  }
  return units;
}

describe("measureDecision", () => {
  it("says what a decision costs, and its parts", async () => {
    expect(await metricsOf(measureDecision(1_000, TIMING))).toEqual({
      "decision-1k-tokens cpu_ms": "ms",
      "decision-1k-tokens prepare_ms": "ms",
      "decision-1k-tokens content_keys_ms": "ms",
    });
  });
});

describe("measurePick", () => {
  it("says what a pick costs, with and without its record", async () => {
    expect(await metricsOf(measurePick(64, TIMING))).toEqual({
      "pick-64 us": "us",
      "pick-64 us_without_record": "us",
      "pick-64 us_cold": "us",
      "pick-64 us_cold_without_record": "us",
    });
  });
});

describe("measureDigest", () => {
  it("says how far off digests are by size and by age, and what they cost", async () => {
    const units: Record<string, string> = {};
    for await (const { metric, value, unit } of measureDigest(0.02, TIMING)) {
      expect(value).toBeGreaterThanOrEqual(0);
      units[metric] = unit;
    }
    expect(units).toMatchObject({
      trace_32k_off: "tokens",
      trace_large_2k_found: "%",
      chat_8k_fingerprints_off: "tokens",
      chat_2s_old_found: "%",
      million_keys_ms: "ms",
      match_100_blocks_us: "us",
    });
  });
});

describe("measurePairDigest", () => {
  it("says how far off isolates' copies are by size and by age, and what they cost", async () => {
    const units: Record<string, string> = {};
    for await (const { metric, value, unit } of measurePairDigest(0.02, TIMING)) {
      expect(value).toBeGreaterThanOrEqual(0);
      units[metric] = unit;
    }
    expect(units).toMatchObject({
      trace_256_128k_off: "tokens",
      chat_64_64k_asked_in_vain: "%",
      "trace_64_0.1s_old_found": "%",
      match_128_blocks_64_us: "us",
      add_500_pairs_us: "us",
    });
  });
});

describe("measureKvEventDecoding", () => {
  it("says what a block of an event costs", async () => {
    expect(await metricsOf(measureKvEventDecoding(TIMING))).toEqual({
      "kv-event-decoding ns_per_block": "ns",
    });
  });
});

describe("measureKvIngest", () => {
  it("says what a content key costs on both sides", async () => {
    expect(await metricsOf(measureKvIngest(32_768, TIMING))).toEqual({
      "kv-stream object_ns_per_key": "ns",
      "kv-stream collector_ns_per_key": "ns",
    });
  });
});

describe("measureKvMemory", () => {
  it("says what a pair weighs, and how many there is room for", async () => {
    expect(await metricsOf(measureKvMemory(2_000, 1024 * 1024))).toEqual({
      "kv-stream bytes_per_pair_1_holders": "B",
      "kv-stream pairs_held_1_holders": "count",
      "kv-stream bytes_per_pair_2_holders": "B",
      "kv-stream pairs_held_2_holders": "count",
    });
  });
});

describe("measureResidency", () => {
  it("says what a block stored or removed costs, weighs, and costs where many share it", async () => {
    expect(await metricsOf(measureResidency(1_024, TIMING, 300))).toEqual({
      "kv-residency ns_per_block": "ns",
      "kv-residency bytes_per_block": "B",
      "kv-residency ns_per_shared_event": "ns",
      "kv-residency ns_per_shared_event_200_held": "ns",
      "kv-residency percent_known_of_sharing": "%",
    });
  });
});

describe("measureTokenKeys", () => {
  it("says what tokenizing costs, and what a vocabulary takes", async () => {
    // Large enough to stand out from what else this process frees meanwhile.
    expect(await metricsOf(measureTokenKeys(30_000, TIMING))).toEqual({
      "token-keys us_1k_tokens": "us",
      "token-keys us_4k_tokens": "us",
      "token-keys us_16k_tokens": "us",
      "token-keys vocabulary_mb": "MB",
    });
  });
});

describe("measureFlowControl", () => {
  it("says what a decision, a new flow and one who leaves cost, and what one who waits weighs", async () => {
    const shapes = [{ egress: 1, bands: 8, flows: 10 }];
    expect(await metricsOf(measureFlowControl(shapes, TIMING))).toEqual({
      "flow-control us_egress1_bands8_flows10": "us",
      "flow-control us_saturation_endpoints64": "us",
      "flow-control us_saturation_endpoints1000": "us",
      "flow-control us_locality_burst": "us",
      "flow-control lookups_locality_burst": "count",
      "flow-control us_locality": "us",
      "flow-control lookups_locality": "count",
      "flow-control us_topology_churn": "us",
      "flow-control us_mass_cancellation": "us",
      "flow-control bytes_per_waiting": "B",
      "flow-control bytes_per_waiting_and_keys": "B",
    });
  });
});

describe("measureQueueDrain", () => {
  it("says what a dispatch from a full queue costs, and what else a request that waits does", async () => {
    expect(await metricsOf(measureQueueDrain({ waiting: 1_500, rounds: 2 }))).toEqual({
      "queue-drain us_dispatch": "us",
      "queue-drain us_of_flow_control": "us",
      "queue-drain us_arrival_and_ask": "us",
    });
  });
});

describe("measurePrefixTree", () => {
  it("says what a block weighs and a look-up takes", async () => {
    expect(await metricsOf(measurePrefixTree(20_000, TIMING))).toEqual({
      "prefix-tree bytes_per_block": "B",
      "prefix-tree bytes_per_block_adverse": "B",
      "prefix-tree live_bytes_per_block": "B",
      "prefix-tree ns_per_lookup_key": "ns",
    });
  });
});

describe("createChatBody", () => {
  it.for([4_000, 40_000, 400_000])("has %i bytes, give or take a word a turn", (bodyBytes) => {
    const body = createChatBody({ bodyBytes, isStream: false, seed: 1 });
    expect(Math.abs(Buffer.byteLength(body) - bodyBytes)).toBeLessThan(150);
  });
});
