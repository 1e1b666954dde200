import { expect, it } from "vitest";
import { endpointNotificationSource } from "../../../../src/scheduler/plugins/data-source/endpoint-notification-source.ts";
import { topologyExtractor } from "../../../../src/scheduler/plugins/extractor/topology-extractor.ts";
import { compiled, sourceOf } from "../../support/data-layer.ts";

const topologyOf = (parameters?: object) =>
  compiled(sourceOf(endpointNotificationSource), [topologyExtractor, parameters]).topology;

it("names the usual labels, and others where it is told", () => {
  const usual = {
    hostname: "kubernetes.io/hostname",
    rack: "topology.kubernetes.io/rack",
    zone: "topology.kubernetes.io/zone",
    region: "topology.kubernetes.io/region",
  };
  expect(topologyOf()).toEqual(usual);
  expect(topologyOf({ rack: "example.com/rack", zone: "" })).toEqual({
    ...usual,
    rack: "example.com/rack",
  });
});
