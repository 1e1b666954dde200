import { expect, it } from "vitest";
import { ObjectRtt, SAMPLE_KEPT_MS, SAMPLE_MS_MAX } from "../../../src/worker/edge/object-rtt.ts";

function measured(...samplesMs: number[]): ObjectRtt {
  const rtt = new ObjectRtt();
  for (const ms of samplesMs) rtt.add(ms, 0);
  return rtt;
}

it("is unknown before the first call, and a while after the last", () => {
  expect(new ObjectRtt().rttMs(0)).toBeUndefined();
  const rtt = measured(40);
  expect(rtt.rttMs(SAMPLE_KEPT_MS - 1)).toBe(40);
  expect(rtt.rttMs(SAMPLE_KEPT_MS)).toBeUndefined();
});

it.for([
  { name: "a queue that came and went", samples: [41, 300, 40, 500, 42, 40, 900, 41], want: 40 },
  { name: "one clock that stood still", samples: [41, 40, 0, 42, 40, 41, 43, 42], want: 40 },
  { name: "a cold start", samples: [800, 40, 40, 41], want: 40 },
])("is the way's, not that of $name", ({ samples, want }) => {
  expect(measured(...samples).rttMs(0)).toBe(want);
});

it("follows a way that has become longer", () => {
  const rtt = measured(...Array<number>(16).fill(2));
  for (let i = 0; i < 16; i++) rtt.add(80, 1_000);
  expect(rtt.rttMs(1_000)).toBe(80);
});

it("forgets what is old, and takes no call for the way that took too long", () => {
  const rtt = measured(2, 2, 2, 2);
  rtt.add(80, SAMPLE_KEPT_MS);
  expect(rtt.rttMs(SAMPLE_KEPT_MS)).toBe(80);
  rtt.add(SAMPLE_MS_MAX + 1, SAMPLE_KEPT_MS);
  rtt.add(-1, SAMPLE_KEPT_MS);
  rtt.add(NaN, SAMPLE_KEPT_MS);
  expect(rtt.rttMs(SAMPLE_KEPT_MS)).toBe(80);
});
