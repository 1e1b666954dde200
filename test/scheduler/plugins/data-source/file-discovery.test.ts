import { expect, it } from "vitest";
import { fileDiscovery } from "../../../../src/scheduler/plugins/data-source/file-discovery.ts";
import { mistakesOf, sourceOf } from "../../support/data-layer.ts";

it("stands for events, and says who reads the file", () => {
  expect(fileDiscovery.role).toBe("endpoint discovery");
  expect(sourceOf(fileDiscovery, { path: "/e.yaml" })).toEqual({ payload: "events", target: null });
  const params = fileDiscovery.params.parse({ path: "/e.yaml", watchFile: true });
  expect(fileDiscovery.notes!(params)).toEqual([expect.stringContaining("--endpoints /e.yaml")]);
});

it("needs a path", () => {
  expect(mistakesOf(fileDiscovery, {}).map(([path]) => path)).toEqual(["path"]);
  expect(mistakesOf(fileDiscovery, { path: "" }).map(([path]) => path)).toEqual(["path"]);
});
