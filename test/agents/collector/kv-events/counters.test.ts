import { expect, it } from "vitest";
import {
  COUNTED_ENDPOINTS_MAX,
  KvEventCounts,
} from "../../../../src/agents/collector/kv-events/counters.ts";
import { MetricRegistry } from "../../../../src/telemetry/metrics.ts";

it("keeps an endpoint's counts while it is away, as long as there is room", () => {
  const counts = new KvEventCounts();
  counts.of("a").messages = 5;
  for (let i = 1; i < COUNTED_ENDPOINTS_MAX; i++) counts.of(`e${i}`);
  expect(counts.of("a").messages).toBe(5);
  counts.of("one more");
  expect(counts.of("a").messages).toBe(0);
});

it("renders what happened, and no zeros of what may never", () => {
  const counts = new KvEventCounts();
  const registry = new MetricRegistry();
  counts.of("a").events.stored = 2;
  counts.of("a").uncertain["history-lost"] = 1;
  counts.render(registry);
  const lines = registry
    .render()
    .split("\n")
    .filter((line) => !line.startsWith("#") && line !== "");
  expect(lines).toEqual([
    'llm_d_epp_kv_cache_events_messages_received_total{pod_identifier="a"} 0',
    'llm_d_epp_kv_cache_events_subscriber_reconnections_total{pod_identifier="a"} 0',
    'fairlead_kv_events_total{endpoint="a",event="stored"} 2',
    'fairlead_kv_events_uncertain_total{endpoint="a",reason="history-lost"} 1',
  ]);
});
