import { expect, it } from "vitest";
import { dcgmDataSource } from "../../../../src/scheduler/plugins/data-source/dcgm-data-source.ts";
import { dcgmExtractor } from "../../../../src/scheduler/plugins/extractor/dcgm-extractor.ts";
import { compiled, sourceOf } from "../../support/data-layer.ts";

it("reads the busiest of the endpoint's own GPUs, as a share", () => {
  const source = sourceOf(dcgmDataSource);
  expect(compiled(source, [dcgmExtractor]).specification).toMatchObject({
    scalars: ["GPUUtilization"],
    exporters: [
      {
        target: source.target,
        reads: [
          {
            key: 0,
            sources: [{ series: "DCGM_FI_DEV_GPU_UTIL" }],
            combine: "max",
            scale: 0.01,
            ownLabel: "pod",
          },
        ],
      },
    ],
  });
});
