import { describe, expect, it } from "vitest";
import type { SaturationDetector } from "../../../../src/scheduler/flow-control/contracts.ts";
import { predictedTtftDetector } from "../../../../src/scheduler/plugins/flow-control/predicted-ttft-detector.ts";
import { describeFlowControl } from "../../support/flow-control-declaration.ts";
import { type EndpointRow, pickContext, STALE_AFTER_MS } from "../../support/pick-context.ts";
import { createPlugin } from "../../support/plugins.ts";

describeFlowControl(predictedTtftDetector, {
  role: "saturation detector",
  stability: "fairlead",
  least: {},
  filled: { targetTtft: "2s", promptTokens: 1_000, stalenessPolicy: "saturated" },
  refused: [{ targetTtft: "0s" }, { targetTtft: "soon" }, { promptTokens: -1 }],
});

const STALE = { ageMs: STALE_AFTER_MS + 1 };

function saturation(rows: readonly EndpointRow[], params: object = {}): number {
  const detector = createPlugin("predicted-ttft-detector", {
    promptTokens: 0,
    ...params,
  }) as SaturationDetector;
  return detector.saturation(pickContext(rows));
}

describe("predicted-ttft-detector", () => {
  it.for([
    { name: "no endpoints as full", rows: [], want: 1 },
    { name: "an idle engine by its overhead", rows: [{}], want: 0.02 },
    { name: "the prompts before it", rows: [{ prefillBusyMs: 1_960 }], want: 1 },
    {
      name: "the mean of its endpoints",
      rows: [{ prefillBusyMs: 1_960 }, { prefillBusyMs: 960 }],
      want: 0.75,
    },
    { name: "more than full", rows: [{ prefillBusyMs: 2_960 }], want: 1.5 },
    {
      name: "an endpoint far behind as twice full",
      rows: [{ prefillBusyMs: 99_960 }, { prefillBusyMs: 960 }, { prefillBusyMs: 960 }],
      want: 1,
    },
    { name: "a stale endpoint as full", rows: [STALE], want: 1 },
    { name: "no less of a stale one", rows: [{ ...STALE, prefillBusyMs: 2_960 }], want: 1.5 },
    { name: "a fresh one beside a stale one", rows: [STALE, { prefillBusyMs: 960 }], want: 0.75 },
  ])("sees $name", ({ rows, want }) => {
    expect(saturation(rows)).toBeCloseTo(want, 9);
  });

  it("takes a stale endpoint as it last was, if it is told to", () => {
    const rows = [{ ...STALE, prefillBusyMs: 960 }];
    expect(saturation(rows, { stalenessPolicy: "ignore" })).toBeCloseTo(0.5, 9);
  });

  it("knows slow engines from fast ones", () => {
    const row = (prefillMsPerToken: number) => [{ prefillMsPerToken }];
    expect(saturation(row(0.1), { promptTokens: 9_600 })).toBeCloseTo(0.5, 9);
    expect(saturation(row(0.4), { promptTokens: 9_600 })).toBeCloseTo(1.94, 9);
  });
});
