import { describe, expect, it } from "vitest";
import {
  type Candidate,
  MISTAKES_MAX,
  toEndpoints,
} from "../../../../src/agents/discovery/kubernetes/candidates.ts";
import {
  parseSlice,
  sliceCandidates,
} from "../../../../src/agents/discovery/kubernetes/endpoint-slices.ts";
import {
  parsePool,
  POOL_GROUPS,
} from "../../../../src/agents/discovery/kubernetes/inference-pool.ts";
import { parsePod, podCandidates } from "../../../../src/agents/discovery/kubernetes/pods.ts";
import { PROTOCOL_LIMITS } from "../../../../src/agents/protocol/limits.ts";
import { membershipSchema } from "../../../../src/agents/protocol/messages.ts";
import { pod } from "../../support/kubernetes-api.ts";

const candidate = (name: string, more: Partial<Candidate> = {}): Candidate => ({
  name,
  host: `${name}.test`,
  port: 8000,
  labels: {},
  ...more,
});
const none: ReadonlySet<string> = new Set();
const podsAt = (ports: number[], ...pods: ReturnType<typeof pod>[]) =>
  podCandidates(
    pods.map((each) => parsePod(each)!),
    ports,
  );

describe("pods", () => {
  it("are endpoints for each target port, with ranks in the ports' order", () => {
    const labels = { "llm-d.ai/role": "decode" };
    const found = podsAt([8001, 8000], pod("a", "10.0.0.1", { labels }));
    expect(found.map(({ name, host, port }) => `${name} ${host}:${port}`)).toEqual([
      "a-rank-0 10.0.0.1:8001",
      "a-rank-1 10.0.0.1:8000",
    ]);
    expect(found[1]!.labels).toEqual({
      app: "vllm",
      "llm-d.ai/role": "decode",
      "kubernetes.io/hostname": "node-1",
      "fairlead/kv-events-rank": "1",
    });
  });

  it("of one target port have a rank in their name, as llm-d's, and no label of it", () => {
    const [found] = podsAt([8000], pod("a", "10.0.0.1"));
    expect(found!.name).toBe("a-rank-0");
    expect(found!.labels).not.toHaveProperty("fairlead/kv-events-rank");
  });

  it("are none while they are not ready, are deleted, have no address or failed", () => {
    const deletionTimestamp = "2026-03-01T10:00:30Z";
    const unknown = { ...pod("d", "10.0.0.4"), status: { podIP: "10.0.0.4" } };
    expect(
      podsAt(
        [8000],
        pod("a", "10.0.0.1", { isReady: false }),
        pod("b", "10.0.0.2", { deletionTimestamp }),
        pod("c", ""),
        unknown,
      ),
    ).toEqual([]);
  });

  it.for([
    { annotations: { "llm-d.ai/active-ports": "8001" }, ranks: ["a-rank-1"] },
    {
      annotations: { "inference.networking.k8s.io/active-ports": " 8000, 9000,x" },
      ranks: ["a-rank-0"],
    },
    {
      annotations: {
        "llm-d.ai/active-ports": "8000,8001",
        "inference.networking.k8s.io/active-ports": "8000",
      },
      ranks: ["a-rank-0", "a-rank-1"],
    },
    { annotations: { "llm-d.ai/active-ports": "" }, ranks: [] },
  ])("serve only on the ports that $annotations names", ({ annotations, ranks }) => {
    const found = podsAt([8000, 8001], pod("a", "10.0.0.1", { annotations }));
    expect(found.map(({ name }) => name)).toEqual(ranks);
  });

  it("say with annotations what a label cannot hold, for each rank its own", () => {
    const annotations = {
      "fairlead/kv-events-url": "tcp://10.0.0.1:7000,tcp://10.0.0.1:7005",
      "fairlead/kv-replay-url": "tcp://10.0.0.1:7100",
      "fairlead/tls": "true",
      other: "not ours",
    };
    const labels = { "fairlead/tls": "false" };
    const [first, second] = podsAt([1, 2], pod("a", "10.0.0.1", { annotations, labels }));
    expect(first!.labels["fairlead/kv-events-url"]).toBe("tcp://10.0.0.1:7000");
    expect(second!.labels["fairlead/kv-events-url"]).toBe("tcp://10.0.0.1:7005");
    // Not one for each: as it is, and who reads it says what is wrong.
    expect(second!.labels["fairlead/kv-replay-url"]).toBe("tcp://10.0.0.1:7100");
    expect(second!.labels["fairlead/tls"]).toBe("false");
    expect(second!.labels).not.toHaveProperty("other");
  });
});

describe("InferencePools", () => {
  it.for([
    { group: POOL_GROUPS[0], spec: { selector: { matchLabels: { b: "2", a: "1" } } } },
    { group: POOL_GROUPS[0], spec: { selector: { matchLabels: { a: "1" } }, targetPorts: [] } },
    {
      group: POOL_GROUPS[0],
      spec: { selector: { matchLabels: { a: "1" } }, targetPorts: [{ number: "http" }] },
    },
    {
      group: POOL_GROUPS[0],
      spec: {
        selector: { matchLabels: { a: "1" } },
        targetPorts: Array.from({ length: 9 }, (_, i) => ({ number: 8000 + i })),
      },
    },
    { group: POOL_GROUPS[1], spec: { selector: {}, targetPortNumber: 1 } },
    { group: POOL_GROUPS[1], spec: { selector: { a: "1" }, targetPortNumber: 70_000 } },
    { group: POOL_GROUPS[1], spec: undefined },
  ])("of $group with $spec are mistaken", ({ group, spec }) => {
    const parsed = parsePool(group, { metadata: { name: "p" }, spec });
    expect(parsed).toMatchObject({ ok: false, mistake: expect.stringMatching(/^spec\./) });
  });

  it("say their selector in one way, whatever the order of its labels", () => {
    const spec = {
      selector: { matchLabels: { b: "2", a: "1" } },
      targetPorts: [{ number: 2 }, { number: 1 }],
    };
    expect(parsePool(POOL_GROUPS[0], { metadata: { name: "p" }, spec })).toEqual({
      ok: true,
      specification: { labelSelector: "a=1,b=2", targetPorts: [2, 1] },
    });
  });
});

describe("EndpointSlices", () => {
  const slice = (more: Record<string, unknown>) =>
    parseSlice({
      metadata: {
        name: "llama-abc",
        labels: {
          "kubernetes.io/service-name": "llama",
          "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
          "llm-d.ai/engine-type": "sglang",
        },
      },
      addressType: "IPv4",
      ports: [{ name: "http", port: 8000, protocol: "TCP" }],
      ...more,
    })!;
  const endpoint = (name: string, ip: string, conditions: object = { ready: true }) => ({
    addresses: [ip],
    conditions,
    targetRef: { kind: "Pod", namespace: "llm", name },
    nodeName: "node-1",
    zone: "zone-a",
  });

  it("are the endpoints that serve, with their Service's labels and their own places", () => {
    const { candidates, mistake } = sliceCandidates(
      [
        slice({
          endpoints: [
            endpoint("a", "10.0.0.1"),
            endpoint("b", "10.0.0.2", { ready: false }),
            endpoint("c", "10.0.0.3", { ready: true, terminating: true }),
            // Unknown: ready.
            endpoint("d", "10.0.0.4", {}),
            { addresses: ["10.0.0.5"] },
          ],
        }),
        slice({ endpoints: null }),
      ],
      null,
    );
    expect(mistake).toBeUndefined();
    expect(candidates.map(({ name, host }) => `${name} ${host}`)).toEqual([
      "a 10.0.0.1",
      "d 10.0.0.4",
      "10.0.0.5 10.0.0.5",
    ]);
    expect(candidates[0]!.labels).toEqual({
      "llm-d.ai/engine-type": "sglang",
      "kubernetes.io/hostname": "node-1",
      "topology.kubernetes.io/zone": "zone-a",
    });
  });

  it("of two address families, or of one moving endpoint, count once", () => {
    const six = slice({ addressType: "IPv6", endpoints: [endpoint("a", "fd00::1")] });
    const four = slice({ endpoints: [endpoint("a", "10.0.0.1")] });
    const { candidates } = sliceCandidates([six, four, four], null);
    expect(candidates.map(({ host }) => host)).toEqual(["10.0.0.1"]);
    const [only] = sliceCandidates([six], null).candidates;
    const { endpoints } = toEndpoints("llm", [only!], none);
    expect(endpoints[0]!.address).toBe("[fd00::1]:8000");
  });

  it.for([
    { port: "http", found: [8000], mistake: undefined },
    { port: "9090", found: [9090], mistake: undefined },
    { port: null, found: [], mistake: /more or less than one port; it has http \(8000\), metrics/ },
    { port: "grpc", found: [], mistake: /no port grpc; it has http \(8000\)/ },
  ])("serve at port $port", ({ port, found, mistake }) => {
    const ports = [
      { name: "http", port: 8000 },
      { name: "metrics", port: 9090 },
    ];
    const said = sliceCandidates([slice({ ports, endpoints: [endpoint("a", "10.0.0.1")] })], port);
    expect(said.candidates.map((each) => each.port)).toEqual(found);
    expect(said.mistake ?? "").toMatch(mistake ?? /^$/);
  });
});

describe("toEndpoints", () => {
  it("gives ids, addresses and engines in one order, whatever the candidates' is", () => {
    const some = [
      candidate("b", { labels: { "llm-d.ai/engine-type": "sglang" } }),
      candidate("a", { host: "FD00::1" }),
    ];
    const { endpoints } = toEndpoints("llm", some, none);
    expect(endpoints).toEqual(toEndpoints("llm", some.toReversed(), none).endpoints);
    expect(endpoints.map(({ id, address, engine }) => [id, address, engine])).toEqual([
      ["llm/a", "[fd00::1]:8000", "vllm"],
      ["llm/b", "b.test:8000", "sglang"],
    ]);
  });

  it("keeps those that are known when there are too many", () => {
    const { endpointsMax } = PROTOCOL_LIMITS;
    const many = Array.from({ length: endpointsMax }, (_, i) => candidate(`m${i}`));
    const known = new Set(toEndpoints("llm", many, none).endpoints.map(({ id }) => id));
    const { endpoints, leftOut, mistakes } = toEndpoints("llm", [candidate("a"), ...many], known);
    expect(endpoints).toHaveLength(endpointsMax);
    expect(endpoints.map(({ id }) => id)).not.toContain("llm/a");
    expect(leftOut).toBe(1);
    expect(mistakes).toEqual(["1 endpoints are more than a pool can have"]);
  });

  it("fits a frame, however long the labels are", () => {
    const labels = Object.fromEntries(
      Array.from({ length: 60 }, (_, i) => [`label-${i}`, "x".repeat(63)]),
    );
    const many = Array.from({ length: 500 }, (_, i) => candidate(`m${i}`, { labels }));
    const { endpoints, leftOut } = toEndpoints("llm", many, none);
    expect(endpoints.length + leftOut).toBe(500);
    expect(leftOut).toBeGreaterThan(0);
    expect(Buffer.byteLength(JSON.stringify({ endpoints }))).toBeLessThan(
      PROTOCOL_LIMITS.frameBytesMax,
    );
  });

  it("leaves out labels that say nothing, that are too long, and the last of too many", () => {
    const labels = {
      ...Object.fromEntries(Array.from({ length: 70 }, (_, i) => [`a-${i}`, "x"])),
      "pod-template-hash": "6f7d9c",
      "x.example.com/long": "x".repeat(257),
      "llm-d.ai/role": "prefill",
    };
    const { endpoints } = toEndpoints("llm", [candidate("a", { labels })], none);
    const told = endpoints[0]!.labels;
    expect(Object.keys(told)).toHaveLength(PROTOCOL_LIMITS.labelsMax);
    expect(told["llm-d.ai/role"]).toBe("prefill");
    expect(told).not.toHaveProperty("pod-template-hash");
    expect(told).not.toHaveProperty("x.example.com/long");
    expect(membershipSchema.safeParse({ endpoints }).success).toBe(true);
  });

  it("leaves out what is mistaken, says so, and keeps the rest", () => {
    const { endpoints, leftOut, mistakes } = toEndpoints(
      "llm",
      [
        candidate("a"),
        candidate("b", { host: "a.test" }),
        candidate("c", { host: "no host" }),
        candidate("d".repeat(253)),
      ],
      none,
    );
    expect(endpoints.map(({ id }) => id)).toEqual(["llm/a"]);
    expect(leftOut).toBe(3);
    expect(mistakes.join("\n")).toMatch(
      /llm\/b: a\.test:8000 is also the address of llm\/a\nllm\/c: address: expected host:port\nllm\/d+: id: /,
    );
    const same = Array.from({ length: 50 }, (_, i) => candidate(`x${i}`, { host: "x" }));
    expect(toEndpoints("llm", same, none).mistakes).toHaveLength(MISTAKES_MAX);
  });
});
