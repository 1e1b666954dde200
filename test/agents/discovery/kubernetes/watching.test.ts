// The source against an API server over HTTP: what becomes of the endpoints while the server does what
// servers do.

import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { answerStatus, FakeKubernetesApi, pod } from "../../support/kubernetes-api.ts";
import { Cluster, GROUP, PODS, POOLS, pool } from "./harness.ts";

let cluster: Cluster;
const PATIENT = { timeout: 5_000, interval: 5 };
const seen = (ids: string[]) => expect.poll(() => cluster.ids(), PATIENT).toEqual(ids);
const A = "llm/a-rank-0";
const B = "llm/b-rank-0";
const C = "llm/c-rank-0";

beforeEach(async () => {
  cluster = await Cluster.start();
  cluster.api.put(POOLS, pool());
  cluster.api.putPod(pod("a", "10.0.0.1"));
  cluster.api.putPod(pod("b", "10.0.0.2"));
});
afterEach(() => cluster.stop());

/** Both watches stand: from here on an event is an event, and no part of a list. */
const watching = () => expect.poll(() => cluster.api.watchCount, PATIENT).toBe(2);

describe("a watch", () => {
  it("follows pods that come, become ready, change, end and go", async () => {
    await cluster.follow();
    expect(cluster.addresses()).toEqual({ [A]: "10.0.0.1:8000", [B]: "10.0.0.2:8000" });
    await watching();
    cluster.api.putPod(pod("c", ""));
    cluster.api.putPod(pod("c", "10.0.0.3", { isReady: false }));
    cluster.api.putPod(pod("d", "10.0.0.4", { labels: { app: "other" } }));
    cluster.api.putPod(pod("c", "10.0.0.3"));
    await seen([A, B, C]);
    // A pod that is on its way out is ready for as long as it ends.
    cluster.api.putPod(pod("a", "10.0.0.1", { deletionTimestamp: "2026-03-01T10:00:30Z" }));
    await seen([B, C]);
    cluster.api.removePod("b");
    await seen([C]);
    expect(cluster.api.count("list")).toBe(2);
  });

  it("tells a change once, however many events it comes in", async () => {
    const source = await cluster.follow();
    await watching();
    const sizes: number[] = [];
    source.onChange((endpoints) => sizes.push(endpoints.length));
    for (let i = 0; i < 50; i++) cluster.api.putPod(pod(`p${i}`, `10.0.1.${i}`));
    for (let i = 0; i < 50; i++) cluster.api.putPod(pod(`p${i}`, `10.0.1.${i}`));
    await expect.poll(() => cluster.ids().length, PATIENT).toBe(52);
    expect(sizes.length).toBeLessThan(5);
  });

  it("goes on from the last version it heard, bookmarks included, without a list", async () => {
    await cluster.follow();
    await watching();
    cluster.api.bookmark();
    cluster.api.putPod(pod("c", "10.0.0.3"));
    await seen([A, B, C]);
    cluster.api.bookmark();
    // Everything before the bookmark is Gone: only who heeded it can go on.
    cluster.api.compact();
    cluster.api.endWatches();
    await expect.poll(() => cluster.api.count("watch"), PATIENT).toBeGreaterThanOrEqual(4);
    await watching();
    cluster.api.removePod("a");
    await seen([B, C]);
    expect(cluster.api.count("list")).toBe(2);
    expect(cluster.api.requests.at(-1)).toMatch(/allowWatchBookmarks=true/);
  });

  it("does not miss what happens while its connection is cut", async () => {
    await cluster.follow();
    await watching();
    cluster.api.cut();
    cluster.api.removePod("a");
    cluster.api.putPod(pod("c", "10.0.0.3"));
    await expect.poll(() => cluster.ids(), PATIENT).toEqual([B, C]);
  });

  it("leaves out an event that is cut off in the middle, and hears it again", async () => {
    await cluster.follow();
    await watching();
    const text = JSON.stringify({ type: "DELETED", object: pod("a", "10.0.0.1") });
    cluster.api.write("pods", text.slice(0, text.length / 2));
    await new Promise((resolve) => setTimeout(resolve, 20));
    cluster.api.cut();
    await watching();
    expect(cluster.ids()).toEqual([A, B]);
    cluster.api.removePod("a");
    await seen([B]);
  });

  it("reads an event that comes a few bytes at a time, in the middle of characters too", async () => {
    await cluster.follow();
    await watching();
    const object = pod("c", "10.0.0.3", { labels: { "llm-d.ai/role": "prefill" } });
    object.metadata.resourceVersion = "5000";
    const text = JSON.stringify({ type: "ADDED", object: { ...object, note: "größer – 模型" } });
    const bytes = Buffer.from(`${text}\n`);
    for (let at = 0; at < bytes.length; at += 7) {
      cluster.api.write("pods", bytes.subarray(at, at + 7) as unknown as string);
      if (at % 140 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await seen([A, B, C]);
    expect(cluster.source!.endpoints[2]!.labels["llm-d.ai/role"]).toBe("prefill");
  });

  it("begins anew when nothing comes for too long", async () => {
    await cluster.follow(undefined, { watchIdleMs: 60 });
    await expect.poll(() => cluster.api.count("watch"), PATIENT).toBeGreaterThan(4);
    expect(cluster.source!.health["endpointsTrouble"]).toBeNull();
    expect(cluster.ids()).toEqual([A, B]);
  });

  it("lists again what no watch has told", async () => {
    await cluster.follow(undefined, { relistMs: 1_100 });
    await watching();
    cluster.api.removeSilently(PODS, "a");
    await expect
      .poll(
        () => {
          cluster.api.endWatches();
          return cluster.ids();
        },
        { timeout: 5_000, interval: 100 },
      )
      .toEqual([B]);
  });
});

describe("a version that is gone", () => {
  for (const goneBy of ["event", "status"] as const) {
    it(`is answered by a list, and what changed meanwhile is found (410 as ${goneBy})`, async () => {
      await cluster.follow();
      await watching();
      cluster.api.goneBy = goneBy;
      cluster.api.fault = (_, response) => response.destroy() !== undefined;
      cluster.api.cut();
      cluster.api.removePod("a");
      cluster.api.putPod(pod("c", "10.0.0.3"));
      cluster.api.compact();
      expect(cluster.ids()).toEqual([A, B]);
      const { length } = cluster.api.requests;
      cluster.api.fault = undefined;
      await seen([B, C]);
      await watching();
      const asked = cluster.api.requests.slice(length).filter((each) => each.includes("/pods?"));
      expect(asked.map((each) => each.split(" ")[0])).toEqual(["watch", "list", "watch"]);
      cluster.api.removePod("b");
      await seen([C]);
    });
  }

  it("is doubted when the server's own versions have gone back", async () => {
    await cluster.follow();
    await watching();
    cluster.api.rewind(10);
    cluster.api.cut();
    cluster.api.removeSilently(PODS, "a");
    await seen([B]);
    await watching();
    expect(cluster.source!.health["endpointsTrouble"]).toBeNull();
  });
});

describe("an API server in trouble", () => {
  it("leaves the last good set in force, and tells its age and what is wrong", async () => {
    await cluster.follow();
    await watching();
    const { port } = cluster.api;
    await cluster.api.close();
    await expect.poll(() => cluster.source!.health["endpointsTrouble"], PATIENT).not.toBeNull();
    expect(cluster.source!.health["endpointsTrouble"]).toMatch(/ECONNREFUSED|other side closed/);
    expect(cluster.ids()).toEqual([A, B]);
    expect(cluster.source!.problem).toBeUndefined();
    expect(cluster.registry.render()).toMatch(/fairlead_endpoints_stale 1/);
    await expect
      .poll(() => Number(/age_seconds ([0-9.]+)/.exec(cluster.registry.render())![1]), PATIENT)
      .toBeGreaterThan(0.1);
    const logged = () => cluster.lines.map((line) => line["msg"]);
    await expect
      .poll(logged, PATIENT)
      .toContain("no news from the API server, keeping the last endpoints");
    cluster.api = await FakeKubernetesApi.start(undefined, port);
    cluster.api.put(POOLS, pool());
    cluster.api.putPod(pod("c", "10.0.0.3"));
    await seen([C]);
    expect(cluster.registry.render()).toMatch(/fairlead_endpoints_stale 0/);
    await expect.poll(logged, PATIENT).toContain("the API server is heard again");
  });

  for (const [code, reason] of [
    [401, "Unauthorized"],
    [403, "Forbidden"],
    [429, "TooManyRequests"],
    [500, "InternalError"],
  ] as const) {
    it(`keeps the set while it answers ${code}, says so, and does not hammer it`, async () => {
      await cluster.follow(undefined, { retryBaseMs: 40, retryCapMs: 80 });
      await watching();
      const before = cluster.api.requests.length;
      cluster.api.fault = (_, response) => {
        answerStatus(response, code, reason);
        return true;
      };
      cluster.api.endWatches();
      await expect
        .poll(() => cluster.source!.health["endpointsTrouble"], PATIENT)
        .toBe(`HTTP ${code}: the fake API server says ${reason}`);
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(cluster.ids()).toEqual([A, B]);
      expect(cluster.api.requests.length - before).toBeLessThan(40);
      cluster.api.fault = undefined;
      cluster.api.removePod("a");
      await seen([B]);
    });
  }

  it("is not believed when it lists nothing once, between errors", async () => {
    await cluster.follow();
    await watching();
    const answers: string[] = [];
    // Empty, an error, empty, an error …
    cluster.api.fault = (url, response) => {
      if (url.pathname !== PODS || url.searchParams.has("watch")) return false;
      answers.push("list");
      if (answers.length % 2 === 0) answerStatus(response, 500, "InternalError");
      else response.end(JSON.stringify({ metadata: { resourceVersion: "9" }, items: [] }));
      return true;
    };
    cluster.api.compact();
    cluster.api.bookmark();
    cluster.api.write("pods", `${JSON.stringify({ type: "ERROR", object: { code: 410 } })}\n`);
    await expect.poll(() => answers.length, PATIENT).toBeGreaterThan(6);
    expect(cluster.ids()).toEqual([A, B]);
    cluster.api.fault = undefined;
    cluster.api.removePod("a");
    await seen([B]);
  });

  it("is believed when it says twice that nothing is left", async () => {
    await cluster.follow();
    await watching();
    cluster.api.cut();
    cluster.api.removeSilently(PODS, "a");
    cluster.api.removeSilently(PODS, "b");
    cluster.api.bookmark();
    cluster.api.compact();
    await expect.poll(() => cluster.ids(), PATIENT).toEqual([]);
  });

  for (const [what, text] of [
    ["an error that is not Gone", '{"type":"ERROR","object":{"code":500,"message":"etcd"}}\n'],
    ["no JSON", "<html>502 Bad Gateway</html>\n"],
    ["an event of no known kind", '{"type":"RENAMED","object":{"metadata":{}}}\n'],
  ] as const) {
    it(`lists again when a watch says ${what}`, async () => {
      await cluster.follow();
      await watching();
      cluster.api.removeSilently(PODS, "a");
      cluster.api.write("pods", text);
      await expect.poll(() => cluster.ids(), PATIENT).toEqual([B]);
    });
  }

  it("cannot fill the agent's memory with an event that never ends", async () => {
    await cluster.follow();
    await watching();
    cluster.api.removeSilently(PODS, "a");
    cluster.api.write("pods", "x".repeat(4 * 1024 * 1024 + 1));
    await expect.poll(() => cluster.ids(), PATIENT).toEqual([B]);
  });

  it("does not start an agent that never had a set", async () => {
    cluster.api.fault = (_, response) => {
      answerStatus(response, 403, "Forbidden");
      return true;
    };
    await expect(cluster.follow(undefined, { syncMsMax: 100 })).rejects.toThrow(
      /no endpoints from the API server within 100 ms: HTTP 403: the fake API server says Forbidden/,
    );
    // It has let go.
    const { length } = cluster.api.requests;
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(cluster.api.requests.length - length).toBeLessThanOrEqual(1);
  });

  it("is left at once when the source is closed", async () => {
    const source = await cluster.follow();
    await watching();
    source.close();
    await expect.poll(() => cluster.api.watchCount, PATIENT).toBe(0);
    const probe = connect(cluster.api.port, "127.0.0.1");
    await once(probe, "connect");
    probe.destroy();
  });
});

describe("an InferencePool", () => {
  it("changes its ports and its selector while it is followed", async () => {
    cluster.api.putPod(pod("s", "10.0.0.9", { labels: { app: "sglang" } }));
    await cluster.follow();
    await watching();
    cluster.api.put(POOLS, pool([8000, 8001]));
    await expect.poll(() => cluster.ids(), PATIENT).toEqual([A, "llm/a-rank-1", B, "llm/b-rank-1"]);
    cluster.api.put(POOLS, pool([8000], "sglang"));
    await seen(["llm/s-rank-0"]);
    await watching();
  });

  it("that is deleted or mistaken leaves its last selector in force", async () => {
    await cluster.follow();
    await watching();
    cluster.api.remove(POOLS, "llama");
    await expect
      .poll(() => cluster.source!.health["endpointsTrouble"], PATIENT)
      .toBe(`there is no InferencePool llm/llama of ${GROUP}`);
    expect(cluster.ids()).toEqual([A, B]);
    cluster.api.removePod("a");
    await seen([B]);
    cluster.api.put(POOLS, { ...pool(), spec: { selector: { matchLabels: {} } } });
    await expect
      .poll(() => cluster.source!.health["endpointsTrouble"], PATIENT)
      .toMatch(/spec\.selector\.matchLabels: it would select every pod/);
    expect(cluster.ids()).toEqual([B]);
    cluster.api.put(POOLS, pool([9000]));
    await expect.poll(() => cluster.addresses(), PATIENT).toEqual({ [B]: "10.0.0.2:9000" });
    expect(cluster.source!.health["endpointsTrouble"]).toBeNull();
  });

  it("of the older group is read as it is written there", async () => {
    const group = "inference.networking.x-k8s.io";
    cluster.api.put(`/apis/${group}/v1alpha2/namespaces/llm/inferencepools`, {
      metadata: { name: "llama", namespace: "llm" },
      spec: { selector: { app: "vllm" }, targetPortNumber: 9000, extensionRef: { name: "epp" } },
    });
    await cluster.follow({ kind: "InferencePool", group });
    expect(cluster.addresses()).toEqual({ [A]: "10.0.0.1:9000", [B]: "10.0.0.2:9000" });
  });

  it("whose definition is not installed is said to be missing", async () => {
    const group = "inference.networking.x-k8s.io";
    const following = cluster.follow({ kind: "InferencePool", group }, { syncMsMax: 100 });
    await expect(following).rejects.toThrow(/HTTP 404/);
  });
});
