import { describe, expect, it } from "vitest";
import { originOf } from "../../../src/agents/collector/scrape-client.ts";
import { DEFAULT_TARGET } from "../../../src/scheduler/data-layer/compile.ts";

const endpoint = (labels: Record<string, string> = {}, address = "10.0.0.7:8000") => ({
  id: "default/a",
  address,
  engine: "vllm" as const,
  labels,
});

describe("the origin of a source", () => {
  it.for([
    ["is the endpoint itself", {}, endpoint(), "http://10.0.0.7:8000"],
    ["has its own port", { port: 9400 }, endpoint(), "http://10.0.0.7:9400"],
    ["is an IPv6 host", { port: 9400 }, endpoint({}, "[fd00::1]:8000"), "http://[fd00::1]:9400"],
    [
      "is the node that the endpoint names",
      { host: "node", port: 9400 },
      endpoint({ nodeAddress: "fd00::9" }),
      "http://[fd00::9]:9400",
    ],
    [
      "is the endpoint's host if it names no node",
      { host: "node" },
      endpoint(),
      "http://10.0.0.7:8000",
    ],
    [
      "is where the endpoint says its metrics are",
      { host: "metrics", scheme: "https" },
      endpoint({ metricsAddress: "epp.eu.example", metricsPort: "9090" }),
      "https://epp.eu.example:9090",
    ],
    [
      "is not what only others' labels say",
      { host: "endpoint" },
      endpoint({ metricsAddress: "elsewhere", metricsPort: "1" }),
      "http://10.0.0.7:8000",
    ],
    [
      "is the endpoint's host if its label is no host",
      { host: "node", port: 1 },
      endpoint({ nodeAddress: "evil/path?" }),
      "http://10.0.0.7:1",
    ],
  ] as const)("%s", ([, target, at, origin]) => {
    expect(originOf({ ...DEFAULT_TARGET, ...target, tls: { ...DEFAULT_TARGET.tls } }, at)).toBe(
      origin,
    );
  });
});
