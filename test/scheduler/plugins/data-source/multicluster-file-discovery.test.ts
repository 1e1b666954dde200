import { expect, it } from "vitest";
import { multiclusterFileDiscovery } from "../../../../src/scheduler/plugins/data-source/multicluster-file-discovery.ts";
import { mistakesOf, sourceOf } from "../../support/data-layer.ts";

it("stands for events, and says who reads the file", () => {
  expect(multiclusterFileDiscovery.role).toBe("endpoint discovery");
  expect(sourceOf(multiclusterFileDiscovery, { path: "/e.yaml" })).toEqual({
    payload: "events",
    target: null,
  });
  const params = multiclusterFileDiscovery.params.parse({ path: "/e.yaml", watchFile: true });
  expect(multiclusterFileDiscovery.notes!(params)).toEqual([
    expect.stringContaining("--endpoints /e.yaml"),
  ]);
});

it("needs a path", () => {
  expect(mistakesOf(multiclusterFileDiscovery, {}).map(([path]) => path)).toEqual(["path"]);
  expect(mistakesOf(multiclusterFileDiscovery, { path: "" }).map(([path]) => path)).toEqual([
    "path",
  ]);
});
