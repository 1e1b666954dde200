import { describe, expect, it } from "vitest";
import {
  BAND_IDLE_MS,
  Bands,
  BANDS_MAX,
  FLOW_IDLE_MS,
  FLOWS_MAX,
  OVERFLOW_ID,
} from "../../../src/scheduler/flow-control/bands.ts";
import { bandSettings, NOW_MS } from "../support/flow-control.ts";

const [listed, positive, negative] = [1, 2, 3].map((ttlMs) => bandSettings({ ttlMs }));

function createBands(): Bands {
  const settings = {
    bands: new Map([[100, listed!]]),
    defaultBand: positive!,
    defaultNegativeBand: negative!,
  };
  return new Bands(settings, NOW_MS);
}

const prioritiesOf = (bands: Bands) => bands.descending.map(({ priority }) => priority);

describe("Bands", () => {
  it("begins with those of the configuration, and 0", () => {
    expect(prioritiesOf(createBands())).toEqual([100, 0]);
  });

  it("makes a band for any priority, with the settings for its sign", () => {
    const bands = createBands();
    expect(bands.bandOf(-7, NOW_MS).settings).toBe(negative);
    expect(bands.bandOf(50, NOW_MS).settings).toBe(positive);
    expect(bands.bandOf(100, NOW_MS).settings).toBe(listed);
    expect(prioritiesOf(bands)).toEqual([100, 50, 0, -7]);
  });

  it("collects a band that came by itself when it is idle, and none that is declared", () => {
    const bands = createBands();
    bands.declare([7], NOW_MS);
    bands.bandOf(50, NOW_MS);
    bands.collect(NOW_MS + BAND_IDLE_MS - 1);
    expect(prioritiesOf(bands)).toEqual([100, 50, 7, 0]);
    bands.collect(NOW_MS + 2 * BAND_IDLE_MS);
    expect(prioritiesOf(bands)).toEqual([100, 7, 0]);
    bands.declare([], NOW_MS);
    bands.collect(NOW_MS + 4 * BAND_IDLE_MS);
    expect(prioritiesOf(bands)).toEqual([100, 0]);
  });

  it("puts a request that finds no room for its band into a lower one, never a higher", () => {
    const bands = createBands();
    for (let priority = 1; priority < 2 * BANDS_MAX; priority++)
      bands.bandOf(-2 * priority, NOW_MS);
    expect(bands.descending).toHaveLength(BANDS_MAX);
    expect(bands.bandOf(-3, NOW_MS).priority).toBe(-4);
    expect(bands.bandOf(5, NOW_MS).priority).toBe(0);
  });

  it("forgets a flow that has been idle for a while, and keeps one in use", () => {
    const bands = createBands();
    const band = bands.bandOf(0, NOW_MS);
    const [idle, used] = ["idle", "used"].map((id) => bands.flowOf(band, id));
    for (const flow of [idle!, used!]) bands.touched(flow, NOW_MS);
    used!.inFlightCount = 1;
    bands.touched(used!, NOW_MS);
    bands.collect(NOW_MS + FLOW_IDLE_MS - 1);
    expect(bands.flowOf(band, "idle")).toBe(idle);
    bands.collect(NOW_MS + FLOW_IDLE_MS + 1_000);
    expect([...band.flows.keys()]).toEqual(["used"]);
    expect(bands.flowCount).toBe(1);
  });

  it("has a bounded number of flows: idle ones go, then newcomers share one", () => {
    const bands = createBands();
    const band = bands.bandOf(0, NOW_MS);
    const flows = Array.from({ length: FLOWS_MAX }, (_, i) => bands.flowOf(band, `f${i}`));
    for (const flow of flows) flow.inFlightCount = 1;
    expect(bands.flowOf(band, "late").fairnessId).toBe(OVERFLOW_ID);
    expect(bands.flowOf(band, "later").fairnessId).toBe(OVERFLOW_ID);
    expect(bands.flowCount).toBe(FLOWS_MAX + 1);
    for (const flow of flows.slice(0, 2)) {
      flow.inFlightCount = 0;
      bands.touched(flow, NOW_MS);
    }
    expect(bands.flowOf(band, "latest").fairnessId).toBe(OVERFLOW_ID);
    expect(bands.flowOf(band, "last").fairnessId).toBe("last");
  });
});
