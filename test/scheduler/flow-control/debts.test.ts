import { expect, it } from "vitest";
import { Bands, FLOW_IDLE_MS } from "../../../src/scheduler/flow-control/bands.ts";
import { DEBTS_MAX, debtsOf, restoreDebts } from "../../../src/scheduler/flow-control/debts.ts";
import { QueueEntry } from "../../../src/scheduler/flow-control/queue-entry.ts";
import { bandSettings, fairnessOf, NOW_MS, queued } from "../support/flow-control.ts";

function createBands(type = "weighted-token-fairness"): Bands {
  const settings = bandSettings({ fairness: fairnessOf(type) });
  const bands = new Map();
  return new Bands({ bands, defaultBand: settings, defaultNegativeBand: settings }, NOW_MS);
}

/** A flow of the band waits, and would be served after who owes less. */
function join(bands: Bands, priority: number, fairnessId: string): void {
  const band = bands.bandOf(priority, NOW_MS);
  band.fairness.joined(band.flowOf(fairnessId), false);
}

/** A request of the flow waits in the band of priority 0. */
function wait(bands: Bands, fairnessId: string, nowMs: number): void {
  const band = bands.bandOf(0, nowMs);
  const flow = band.flowOf(fairnessId);
  band.add(new QueueEntry(flow, queued({ fairnessId }), { nowMs, sequence: 1 }), nowMs);
}

it("gives back what was restored, the largest first, a bounded number of them", () => {
  const bands = createBands();
  const owed = Array.from({ length: DEBTS_MAX + 50 }, (_, i) => ({
    priority: i % 2,
    fairnessId: `f${i}`,
    tokens: 100_000 - i,
  }));
  restoreDebts(bands, owed, NOW_MS);
  for (const priority of [0, 1]) join(bands, priority, "owes nothing");
  for (const { priority, fairnessId } of owed) join(bands, priority, fairnessId);
  expect(debtsOf(bands)).toEqual(owed.slice(0, DEBTS_MAX));
});

it("keeps no more than the bound of what there is", () => {
  const bands = createBands();
  const half = DEBTS_MAX - 10;
  for (const priority of [0, 1]) {
    const owed = Array.from({ length: half }, (_, i) => ({
      priority,
      fairnessId: `f${i}`,
      tokens: 1_000 * (priority + 1) + i,
    }));
    restoreDebts(bands, owed, NOW_MS);
    join(bands, priority, "owes nothing");
    for (const { fairnessId } of owed) join(bands, priority, fairnessId);
  }
  const debts = debtsOf(bands);
  expect(debts).toHaveLength(DEBTS_MAX);
  expect(debts.filter(({ priority }) => priority === 1)).toHaveLength(half);
});

it("has nothing to tell of a policy without such a count", () => {
  const bands = createBands("round-robin-fairness-policy");
  restoreDebts(bands, [{ priority: 0, fairnessId: "a", tokens: 5 }], NOW_MS);
  join(bands, 0, "a");
  expect(debtsOf(bands)).toEqual([]);
});

it("forgives a debt that nobody has come for in a while, with an arrival or without", () => {
  const owed = [{ priority: 0, fairnessId: "absent", tokens: 5_000 }];
  const overMs = NOW_MS + FLOW_IDLE_MS;
  for (const pass of [
    (bands: Bands, nowMs: number) => bands.collect(nowMs),
    (bands: Bands, nowMs: number) => wait(bands, "here", nowMs),
  ]) {
    const bands = createBands();
    restoreDebts(bands, owed, NOW_MS);
    pass(bands, overMs - 1_000);
    expect(debtsOf(bands)).toEqual(owed);
    pass(bands, overMs);
    expect(debtsOf(bands)).toEqual([]);
    wait(bands, "absent", overMs);
    expect(debtsOf(bands)).toEqual([]);
  }
});
