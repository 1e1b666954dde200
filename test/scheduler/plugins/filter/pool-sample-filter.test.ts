import { expect, it } from "vitest";
import { createRng } from "../../../../src/scheduler/support/rng.ts";
import { pickContext } from "../../support/pick-context.ts";
import { accepts, keptBy } from "../../support/plugins.ts";

const ROWS = Array.from({ length: 10 }, () => ({ pool: {} }));

function drawn(params: object, sampleSize = 0): number[][] {
  return Array.from({ length: 500 }, (_, seed) => {
    const context = pickContext(ROWS, { policy: { sampleSize } });
    return keptBy("pool-sample-filter", params, { ...context, rng: createRng(seed) });
  });
}

it("keeps so many, each as often as any other", () => {
  const samples = drawn({ size: 2 });
  for (const sample of samples) expect(sample).toHaveLength(2);
  for (let slot = 0; slot < 10; slot++) {
    const share = samples.filter((sample) => sample.includes(slot)).length / samples.length;
    expect(share).toBeGreaterThan(0.13);
    expect(share).toBeLessThan(0.27);
  }
});

it("goes by the deployment where it is not told, and looks at all for 0", () => {
  expect(drawn({}, 3)[0]).toHaveLength(3);
  expect(drawn({}, 0)[0]).toHaveLength(10);
  expect(drawn({ size: 0 }, 3)[0]).toHaveLength(10);
  expect(drawn({ size: 10 })[0]).toHaveLength(10);
});

it("keeps everybody where slots are no pools", () => {
  expect(keptBy("pool-sample-filter", { size: 1 }, pickContext([{}, {}]))).toEqual([0, 1]);
});

it("takes whole numbers up to the pools of a deployment", () => {
  expect([-1, 0, 1.5, 256, 257].map((size) => accepts("pool-sample-filter", { size }))).toEqual([
    false,
    true,
    false,
    true,
    false,
  ]);
});
