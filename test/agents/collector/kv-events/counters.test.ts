import { expect, it } from "vitest";
import {
  COUNTED_ENDPOINTS_MAX,
  KvEventCounts,
} from "../../../../src/agents/collector/kv-events/counters.ts";
import { LABEL_VALUES_MAX, MetricRegistry } from "../../../../src/telemetry/metrics.ts";

const of = (...ids: string[]) => ids.map((id) => ({ id }));

function messages(counts: KvEventCounts): Record<string, number> {
  const registry = new MetricRegistry();
  registry.onRender(() => counts.render(registry));
  registry.render();
  const lines = registry.render().matchAll(/_messages_received_total\{.*="(.*)"\} (\d+)/g);
  return Object.fromEntries([...lines].map(([, endpoint, count]) => [endpoint, Number(count)]));
}

it("counts those that are there each by itself, and all that have gone together", () => {
  const counts = new KvEventCounts();
  counts.of("storage").messages = 1;
  counts.of("a").messages = 5;
  counts.of("b").messages = 7;
  counts.of("b").skipped.frames = 3;
  expect(messages(counts)).toEqual({ storage: 1, a: 5, b: 7 });
  counts.keep(of("a"));
  expect(messages(counts)).toEqual({ storage: 1, a: 5, other: 7 });
  expect(counts.of("other").skipped.frames).toBe(3);
  counts.keep([]);
  counts.of("a").messages = 1;
  expect(messages(counts)).toEqual({ storage: 1, a: 1, other: 12 });
});

it("counts endpoints past its bound together", () => {
  const counts = new KvEventCounts();
  for (let i = 0; i < COUNTED_ENDPOINTS_MAX; i++) counts.of(`e${i}`).messages = 1;
  for (const id of ["f", "g"]) counts.of(id).messages += 2;
  expect(messages(counts)).toMatchObject({ e0: 1, other: 4 });
  counts.keep(of("e0", "f"));
  counts.of("f").messages += 2;
  expect(messages(counts)).toEqual({ e0: 1, f: 2, other: 4 + COUNTED_ENDPOINTS_MAX - 1 });
});

it("leaves no series of endpoints that have gone, however many come", () => {
  const counts = new KvEventCounts();
  const registry = new MetricRegistry();
  registry.onRender(() => counts.render(registry));
  for (let i = 0; i < 2 * LABEL_VALUES_MAX; i += 100) {
    const ids = Array.from({ length: 100 }, (_, at) => `e${i + at}`);
    counts.keep(of(...ids));
    for (const id of ids) counts.of(id).messages = 1;
    registry.render();
  }
  const last = `{pod_identifier="e${2 * LABEL_VALUES_MAX - 1}"} 1`;
  expect(registry.render()).toContain(last);
  expect(registry.render()).toContain(`{pod_identifier="other"} ${2 * LABEL_VALUES_MAX - 100}`);
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
