import { expect, it } from "vitest";
import { modelsDataSource } from "../../../../src/scheduler/plugins/data-source/models-data-source.ts";
import { mistakesOf, sourceOf } from "../../support/data-layer.ts";

it("asks the endpoint for its list of models", () => {
  expect(sourceOf(modelsDataSource, { interval: "30s" })).toMatchObject({
    payload: "models",
    target: {
      scheme: "http",
      path: "/v1/models",
      port: null,
      host: "endpoint",
      intervalMs: 30_000,
    },
  });
});

it("has no port of its own", () => {
  expect(mistakesOf(modelsDataSource, { port: 80 })).toHaveLength(1);
});
