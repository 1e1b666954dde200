import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { FirstByteTimes } from "../../../src/worker/upstream/hedge-times.ts";
import { HedgeWatch } from "../../../src/worker/upstream/hedge-watch.ts";
import type { RelayAnswer } from "../../../src/worker/upstream/relay-fetch.ts";

beforeEach(() => void vi.useFakeTimers({ now: 1_000_000 }));
afterEach(() => void vi.useRealTimers());

const answered = (status: number): RelayAnswer => ({
  kind: "answered",
  response: new Response(null, { status }),
  endpoint: "e",
  endpointsTried: 1,
});

/** Times that are noted of an attempt that ends so after 40 ms, and of its way given up 200 ms later. */
function noted(end: RelayAnswer | undefined): number[] {
  const times = new FirstByteTimes();
  const add = vi.spyOn(times, "add");
  const hedge = { percentile: 0.95, minMs: 30, budget: 0.5 };
  const job = { routing: { retryPoolsMax: 3, hedge }, telemetry: { facts: { isStream: true } } };
  const watch = new HedgeWatch(job as never, times);
  watch.sent({ isFromSnapshot: false } as never, "p");
  vi.advanceTimersByTime(40);
  if (end !== undefined) watch.ended(end);
  vi.advanceTimersByTime(200);
  watch.givenUp();
  return add.mock.calls.map(([, , ms]) => ms);
}

it.for([
  { name: "an answer once, at its first byte", end: answered(200), ms: [40] },
  { name: "what was given up while it was waited for, for as long", end: undefined, ms: [240] },
  { name: "nothing of a refusal", end: answered(503), ms: [] },
  {
    name: "nothing of what was lost",
    end: { kind: "unreachable", endpointsTried: 1 } as const,
    ms: [],
  },
])("a watch notes $name", ({ end, ms }) => {
  expect(noted(end)).toEqual(ms);
});
