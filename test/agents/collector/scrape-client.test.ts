import { describe, expect, it } from "vitest";
import { originOf, ScrapeClient } from "../../../src/agents/collector/scrape-client.ts";
import type { WireTarget } from "../../../src/agents/protocol/metrics-specification.ts";
import { DEFAULT_TARGET } from "../../../src/scheduler/data-layer/compile.ts";

const endpoint = (labels: Record<string, string> = {}, address = "10.0.0.7:8000") => ({
  id: "default/a",
  address,
  engine: "vllm" as const,
  labels,
});

const targetOf = (part: Partial<WireTarget>): WireTarget => {
  return { ...DEFAULT_TARGET, ...part, tls: { ...DEFAULT_TARGET.tls } };
};

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
    expect(originOf(targetOf(target), at).url).toBe(origin);
  });

  it.for([
    ["an address that is none", { metricsAddress: "10.0.0.300" }, "http://10.0.0.7:8000"],
    ["no IPv6 address", { metricsAddress: "a:b" }, "http://10.0.0.7:8000"],
    ["a path", { metricsAddress: "evil/path?" }, "http://10.0.0.7:8000"],
    ["a port that is none", { metricsPort: "99999" }, "http://10.0.0.7:8000"],
    ["port 0", { metricsPort: "0" }, "http://10.0.0.7:8000"],
    ["a bad port elsewhere", { metricsAddress: "a", metricsPort: "x" }, "http://a:8000"],
  ] as const)("falls back to the endpoint's where a label is %s", ([, labels, url]) => {
    const origin = originOf(targetOf({ host: "metrics" }), endpoint(labels));
    expect(origin).toEqual({ url, isLabelBad: true });
  });

  it("has no fault to find in good labels, or in those that are not asked", () => {
    const at = endpoint({ metricsAddress: "a", metricsPort: "1", nodeAddress: "10.0.0.300" });
    expect(originOf(targetOf({ host: "metrics" }), at)).toMatchObject({ isLabelBad: false });
    expect(originOf(targetOf({}), at)).toMatchObject({ isLabelBad: false });
  });

  it("is none where the endpoint's address is none", async () => {
    const { url } = originOf(targetOf({}), endpoint({}, "10.0.0.300:8000"));
    expect(url).toBeUndefined();
    const client = new ScrapeClient(url);
    expect(await client.get("/metrics", "text/plain")).toEqual({ ok: false, status: 1 });
    client.close();
  });
});
