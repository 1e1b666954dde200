import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { parseDeployment } from "../../src/config/deployment.ts";
import { hubPool } from "../../src/config/hub-mode.ts";

const read = (name: string): unknown =>
  parse(readFileSync(`test/fixtures/llm-d-hub/${name}.yaml`, "utf8"));
const HUB = read("hub");
const CLUSTERS = read("clusters");
const https = { scheme: "https" } as const;

/** Within a deployment, as its schema reads it. */
function asDeployment(pool: object) {
  const parsed = parseDeployment({
    version: 1,
    pools: [
      { name: "hub", region: "r", models: ["m"], agentToken: "agent-token-0123456789", ...pool },
    ],
    tenants: [],
  });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return parsed.value.pools[0]!;
}

const cluster = (fields: object) => ({
  endpoints: [{ name: "a", address: "10.0.0.12", port: "8080", ...fields }],
});
const urlsOf = (clusters: unknown, hub: unknown = HUB) => {
  const converted = hubPool(hub, clusters, https);
  if (!converted.ok) throw new Error(JSON.stringify(converted.issues));
  return asDeployment(converted.pool).upstreams.map(({ url, metrics }) => [url, metrics?.url]);
};

describe("llm-d's hub mode", () => {
  it("becomes a pool of gateways, with the example of llm-d's own documentation", () => {
    const converted = hubPool(HUB, CLUSTERS, https);
    expect(converted).toMatchObject({ ok: true, notes: [expect.stringContaining("certificates")] });
    if (!converted.ok) return;
    const pool = asDeployment(converted.pool);
    expect(pool.scheduler).toEqual(HUB);
    expect(pool.upstreams).toMatchObject([
      {
        name: "cluster-a",
        kind: "gateway",
        url: "https://gw.cluster-a.example.com:443",
        metrics: {
          url: "https://gw.cluster-a.example.com:443/metrics",
          queueSize: "llm_d_epp_average_queue_size",
          kvUsage: "llm_d_epp_average_kv_cache_utilization",
        },
      },
      {
        name: "split",
        url: "https://10.0.0.12:8080",
        metrics: { url: "https://10.0.0.11:9090/metrics" },
        labels: { region: "eu" },
      },
    ]);
  });

  it("reads metrics where the labels say, or at the cluster itself", () => {
    const at = (labels: object) => urlsOf(cluster({ labels }))[0]![1];
    expect(at({})).toBe("https://10.0.0.12:8080/metrics");
    expect(at({ metricsAddress: "10.0.0.11" })).toBe("https://10.0.0.11:8080/metrics");
    expect(at({ metricsAddress: "gw.example.com", metricsPort: "443" })).toBe(
      "https://gw.example.com:443/metrics",
    );
    expect(urlsOf(cluster({ address: "2001:db8::1" }))[0]![0]).toBe("https://[2001:db8::1]:8080");
  });

  it("takes over how metrics are read, and which", () => {
    const plugins = [
      { type: "multicluster-file-discovery", parameters: { path: "/c.yaml" } },
      {
        type: "multicluster-metrics-data-source",
        parameters: { scheme: "http", path: "/m", port: 9_090, interval: "50ms" },
      },
      {
        type: "multicluster-metrics-extractor",
        parameters: { queueSizeMetric: "my_queue{pool=a}" },
      },
    ];
    const converted = hubPool({ plugins }, cluster({}), { scheme: "http" });
    expect(converted).toMatchObject({ ok: true, notes: [] });
    if (!converted.ok) return;
    expect(converted.pool.upstreams).toMatchObject([
      {
        url: "http://10.0.0.12:8080",
        metrics: {
          url: "http://10.0.0.12:9090/m",
          queueSize: "my_queue{pool=a}",
          intervalMs: 200,
        },
      },
    ]);
  });

  it("has no metrics without a source for them", () => {
    const plugins = [{ type: "multicluster-file-discovery", parameters: { path: "/c.yaml" } }];
    expect(urlsOf(cluster({}), { plugins })).toEqual([["https://10.0.0.12:8080", undefined]]);
  });

  it.each([
    ["a name twice", { endpoints: [...cluster({}).endpoints, ...cluster({}).endpoints] }, "[1]"],
    ["no host", cluster({ address: "http://x" }), "address"],
    ["no port", cluster({ port: "none" }), "port"],
    ["an unknown key", cluster({ adress: "x" }), "endpoints[0]"],
    ["a port that llm-d overlooks", cluster({ labels: { metricsPort: "1" } }), "labels"],
    ["no cluster", { endpoints: [] }, "endpoints"],
  ])("refuses a file with %s", (_, clusters, path) => {
    const converted = hubPool(HUB, clusters, https);
    expect(converted).toMatchObject({
      ok: false,
      issues: expect.arrayContaining([
        expect.objectContaining({ path: expect.stringContaining(path) }),
      ]),
    });
  });

  it("refuses a configuration that is no hub's", () => {
    expect(hubPool({ plugins: [{ type: "queue-scorer" }] }, CLUSTERS, https)).toMatchObject({
      ok: false,
      issues: [{ path: "plugins" }],
    });
  });
});
