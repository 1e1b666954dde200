import { expect, it } from "vitest";
import { metricsDataSource } from "../../../../src/scheduler/plugins/data-source/metrics-data-source.ts";
import { modelsDataSource } from "../../../../src/scheduler/plugins/data-source/models-data-source.ts";
import { modelsDataExtractor } from "../../../../src/scheduler/plugins/extractor/models-data-extractor.ts";
import { compiled, sourceOf } from "../../support/data-layer.ts";

it("has the list of models read", () => {
  const source = sourceOf(modelsDataSource);
  expect(compiled(source, [modelsDataExtractor]).specification.models).toEqual(source.target);
});

it("does not read metrics", () => {
  const { specification, problems } = compiled(sourceOf(metricsDataSource), [modelsDataExtractor]);
  expect(specification.models).toBeNull();
  expect(problems).toEqual(["models-data-extractor reads models, and source delivers prometheus"]);
});
