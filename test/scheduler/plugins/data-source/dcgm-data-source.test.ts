import { expect, it } from "vitest";
import { dcgmDataSource } from "../../../../src/scheduler/plugins/data-source/dcgm-data-source.ts";
import { mistakesOf, sourceOf } from "../../support/data-layer.ts";

it("asks the exporter of the endpoint's node", () => {
  const target = { scheme: "http", path: "/metrics", port: 9_400, host: "node", intervalMs: null };
  expect(sourceOf(dcgmDataSource)).toMatchObject({ payload: "prometheus", target });
  expect(sourceOf(dcgmDataSource, { port: 9_401 }).target!.port).toBe(9_401);
});

it("needs a port, and may be told how often to ask", () => {
  expect(mistakesOf(dcgmDataSource, { port: 0 })).toHaveLength(1);
  expect(mistakesOf(dcgmDataSource, { interval: "often" })).toHaveLength(1);
  expect(sourceOf(dcgmDataSource, { interval: "5s" }).target!.intervalMs).toBe(5_000);
});
