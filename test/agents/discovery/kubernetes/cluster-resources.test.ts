// Objectives and rewrites of a pool, as a source tells them of a cluster in this process.

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { PROTOCOL_LIMITS } from "../../../../src/agents/protocol/limits.ts";
import { resourcesSchema } from "../../../../src/agents/protocol/resources.ts";
import { answerStatus, pod, type KubernetesObject } from "../../support/kubernetes-api.ts";
import { Cluster, GROUP, pool, POOLS } from "./harness.ts";

const LLM_D = "/apis/llm-d.ai/v1alpha2/namespaces/llm";
const FORMER = "/apis/inference.networking.x-k8s.io/v1alpha2/namespaces/llm";
const OBJECTIVES = `${LLM_D}/inferenceobjectives`;
const REWRITES = `${LLM_D}/inferencemodelrewrites`;
const PATIENT = { timeout: 10_000, interval: 10 };
const RULES = [{ matches: [{ model: { type: "Exact", value: "a" } }], targets: [] }];

let cluster: Cluster;

beforeEach(async () => {
  cluster = await Cluster.start();
  cluster.api.put(POOLS, pool());
  cluster.api.putPod(pod("a", "127.0.0.1"));
});
afterEach(() => cluster.stop());

interface Created {
  readonly createdAt?: string;
  readonly poolRef?: object;
  readonly deletionTimestamp?: string;
}

function resource(name: string, spec: object, created: Created = {}): KubernetesObject {
  const { createdAt = "2026-03-01T10:00:00Z", poolRef, deletionTimestamp } = created;
  const metadata = { name, namespace: "llm", creationTimestamp: createdAt };
  return {
    apiVersion: "llm-d.ai/v1alpha2",
    metadata: deletionTimestamp === undefined ? metadata : { ...metadata, deletionTimestamp },
    spec: { poolRef: { group: GROUP, kind: "InferencePool", name: "llama", ...poolRef }, ...spec },
  };
}

/** The paths exist, if empty. */
function define(...paths: string[]): void {
  for (const path of paths) {
    cluster.api.put(path, resource("none", {}));
    cluster.api.remove(path, "none");
  }
}

const follow = (timing = {}) => cluster.follow(undefined, timing, true);
const told = () => cluster.source!.resources!.current();
const names = () => told().objectives?.map(({ name }) => name);

describe("resources of a cluster", () => {
  it("are those that name the pool, and follow their changes", async () => {
    cluster.api.put(OBJECTIVES, resource("gold", { priority: 10 }));
    cluster.api.put(OBJECTIVES, resource("plain", {}));
    cluster.api.put(OBJECTIVES, resource("other", {}, { poolRef: { name: "qwen" } }));
    const of = { group: "inference.networking.x-k8s.io" };
    cluster.api.put(OBJECTIVES, resource("former", {}, { poolRef: of }));
    const deletionTimestamp = "2026-03-01T10:00:00Z";
    cluster.api.put(OBJECTIVES, resource("leaving", {}, { deletionTimestamp }));
    cluster.api.put(REWRITES, resource("r", { rules: RULES }));
    await follow();
    await expect.poll(told, PATIENT).toEqual({
      objectives: [
        { name: "gold", priority: 10 },
        { name: "plain", priority: 0 },
      ],
      rewrites: [{ name: "r", creationTimestamp: "2026-03-01T10:00:00Z", rules: RULES }],
    });
    let changes = 0;
    cluster.source!.onResources!(() => void (changes += 1));
    await expect.poll(() => cluster.api.watchCount, PATIENT).toBe(4);
    cluster.api.put(OBJECTIVES, resource("gold", { priority: 11 }));
    cluster.api.put(OBJECTIVES, resource("plain", {}, { poolRef: { name: "qwen" } }));
    cluster.api.remove(REWRITES, "r");
    await expect
      .poll(told, PATIENT)
      .toEqual({ objectives: [{ name: "gold", priority: 11 }], rewrites: [] });
    expect(changes).toBeGreaterThanOrEqual(3);
  });

  it("are listed again where the version is Gone", async () => {
    define(REWRITES);
    cluster.api.put(OBJECTIVES, resource("gold", { priority: 1 }));
    await follow();
    await expect.poll(names, PATIENT).toEqual(["gold"]);
    await expect.poll(() => cluster.api.watchCount, PATIENT).toBe(4);
    cluster.api.fault = (_, response) => answerStatus(response, 503, "Unavailable") === undefined;
    cluster.api.cut();
    // What is only remembered is not told: another collector may know better.
    await expect.poll(told, PATIENT).toEqual({});
    cluster.api.put(OBJECTIVES, resource("silver", { priority: 0 }));
    cluster.api.compact();
    cluster.api.fault = undefined;
    await expect.poll(names, PATIENT).toEqual(["gold", "silver"]);
  });

  it("are none without definitions, which is said once and looked at again", async () => {
    await follow({ absentRetryMs: 30 });
    await expect.poll(told, PATIENT).toEqual({ objectives: [], rewrites: [] });
    const notes = () => cluster.lines.filter(({ notes: said }) => said !== undefined);
    await expect.poll(notes, PATIENT).toMatchObject([
      {
        notes: [
          "the cluster has no definition of InferenceObjective",
          "the cluster has no definition of InferenceModelRewrite",
        ],
      },
    ]);
    expect(cluster.source!.health).toMatchObject({ endpointsTrouble: null });
    cluster.api.put(OBJECTIVES, resource("gold", { priority: 1 }));
    await expect.poll(names, PATIENT).toEqual(["gold"]);
    expect(cluster.source!.health["resourcesNotes"]).toBe(
      "the cluster has no definition of InferenceModelRewrite",
    );
  });

  it("are looked for seldom where they are not defined", async () => {
    await follow();
    await expect.poll(told, PATIENT).toEqual({ objectives: [], rewrites: [] });
    await new Promise((resolve) => setTimeout(resolve, 200));
    const asked = cluster.api.requests.filter((request) => request.includes("inferenceobjectives"));
    expect(asked).toHaveLength(2);
  });

  it("are of the group before where that is the one there is", async () => {
    const path = `${FORMER}/inferenceobjectives`;
    cluster.api.put(path, resource("old", { priority: 1 }));
    await follow({ absentRetryMs: 30 });
    await expect.poll(names, PATIENT).toEqual(["old"]);
    cluster.api.put(OBJECTIVES, resource("new", { priority: 1 }));
    await expect.poll(names, PATIENT).toEqual(["new"]);
  });

  it("are gone with their definition, once that is said twice", async () => {
    cluster.api.put(OBJECTIVES, resource("gold", { priority: 1 }));
    await follow({ absentRetryMs: 30 });
    await expect.poll(names, PATIENT).toEqual(["gold"]);
    let refusals = 0;
    cluster.api.fault = ({ pathname }, response) => {
      if (pathname !== OBJECTIVES) return false;
      refusals += 1;
      answerStatus(response, 404, "NotFound");
      return true;
    };
    cluster.api.endWatches();
    await expect.poll(names, PATIENT).toEqual([]);
    expect(refusals).toBeGreaterThanOrEqual(2);
  });

  it("are not known where they may not be read, and endpoints are", async () => {
    define(REWRITES);
    cluster.api.fault = ({ pathname }, response) => {
      if (pathname !== OBJECTIVES) return false;
      answerStatus(response, 403, "Forbidden");
      return true;
    };
    await follow();
    await expect.poll(told, PATIENT).toEqual({ rewrites: [] });
    expect(cluster.ids()).toEqual(["llm/a-rank-0"]);
    expect(cluster.source!.health).toMatchObject({
      endpointsTrouble: null,
      resourcesNotes: expect.stringMatching(/^no news of InferenceObjectives: HTTP 403/) as string,
    });
    const asked = cluster.api.requests.filter((request) => request.includes(OBJECTIVES));
    expect(asked).toHaveLength(1);
  });

  it("are the oldest, as many as a frame has room for", async () => {
    define(REWRITES);
    const max = PROTOCOL_LIMITS.objectivesMax;
    for (let i = 0; i <= max; i++) {
      const createdAt = `2026-03-01T10:${String(i % 60).padStart(2, "0")}:00Z`;
      const name = `o-${String(i).padStart(3, "0")}`;
      cluster.api.put(OBJECTIVES, resource(name, {}, { createdAt }));
    }
    const long = [{ targets: [{ modelRewrite: "x".repeat(20_000) }] }];
    for (const name of ["r1", "r2"]) cluster.api.put(REWRITES, resource(name, { rules: long }));
    await follow();
    await expect.poll(() => names()?.length, PATIENT).toBe(max);
    expect(names()).not.toContain("o-059");
    expect(names()).toContain("o-064");
    await expect.poll(() => told().rewrites?.map(({ name }) => name), PATIENT).toEqual(["r1"]);
    const bytes = Buffer.byteLength(JSON.stringify(told()));
    expect(bytes).toBeLessThanOrEqual(PROTOCOL_LIMITS.resourcesBytesMax);
    expect(resourcesSchema.safeParse(told()).success).toBe(true);
    expect(cluster.source!.health["resourcesNotes"]).toMatch(
      /^1 InferenceObjectives are left out: .* 64.*; 1 InferenceModelRewrites are left out/,
    );
  });

  it("are not followed by who does not ask for them", async () => {
    cluster.api.put(OBJECTIVES, resource("gold", { priority: 1 }));
    await cluster.follow();
    expect(cluster.source!.resources).toBeUndefined();
    expect(cluster.api.requests.filter((request) => request.includes("llm-d.ai"))).toEqual([]);
  });
});
