// Lists of the API server: in pages, cut off, too long.

import { afterEach, beforeEach, expect, describe, it } from "vitest";
import { REFLECTOR_LIMITS } from "../../../../src/agents/discovery/kubernetes/reflector.ts";
import { PROTOCOL_LIMITS } from "../../../../src/agents/protocol/limits.ts";
import { pod } from "../../support/kubernetes-api.ts";
import { Cluster, PODS, POOLS, pool } from "./harness.ts";

let cluster: Cluster;
const PATIENT = { timeout: 5_000, interval: 5 };
const A = "llm/a-rank-0";
const B = "llm/b-rank-0";

beforeEach(async () => {
  cluster = await Cluster.start();
  cluster.api.put(POOLS, pool());
  cluster.api.putPod(pod("a", "10.0.0.1"));
  cluster.api.putPod(pod("b", "10.0.0.2"));
});
afterEach(() => cluster.stop());

/** Both watches stand: from here on an event is an event, and no part of a list. */
const watching = () => expect.poll(() => cluster.api.watchCount, PATIENT).toBe(2);

describe("a list in pages", () => {
  const many = (count: number) => {
    for (let i = 0; i < count; i++) {
      cluster.api.putPod(pod(`p${i}`, `10.1.${Math.floor(i / 250)}.${i % 250}`));
    }
  };

  it("is read to its end, and begun anew when its token has expired", async () => {
    many(248);
    let pages = 0;
    cluster.api.fault = (url) => {
      if (url.searchParams.has("continue") && (pages += 1) === 2) cluster.api.compact();
      return false;
    };
    await cluster.follow();
    expect(cluster.ids()).toHaveLength(250);
    // 1 page, 2 pages, an expired one; then 3 of them.
    expect(pages).toBe(4);
  });

  it("is none when it is cut off", async () => {
    many(248);
    let cuts = 0;
    cluster.api.fault = (url, response) => {
      if (!url.searchParams.has("continue") || (cuts += 1) > 3) return false;
      response.writeHead(200).write('{"metadata":{"resourceVersion":"1"},"items":[');
      response.destroy();
      return true;
    };
    await cluster.follow();
    expect(cluster.ids()).toHaveLength(250);
    expect(cuts).toBeGreaterThan(3);
  });

  it("has as many endpoints as a pool may have, and the rest is counted", async () => {
    many(1_030);
    await cluster.follow();
    expect(cluster.ids()).toHaveLength(1_024);
    expect(cluster.registry.render()).toMatch(/fairlead_endpoints_left_out 8/);
    expect(cluster.source!.health["endpointsLeftOut"]).toBe(8);
    await watching();
    // One that is known goes; one that was left out takes its place.
    cluster.api.removePod("a");
    await expect.poll(() => cluster.source!.health["endpointsLeftOut"], PATIENT).toBe(7);
    expect(cluster.ids()).toHaveLength(1_024);
  });

  it("has as many objects as are kept, and the rest is counted", async () => {
    const { objectsMax } = REFLECTOR_LIMITS;
    const { endpointsMax } = PROTOCOL_LIMITS;
    many(objectsMax - 2);
    const source = await cluster.follow();
    expect(source.health["endpointsLeftOut"]).toBe(objectsMax - endpointsMax);
    await watching();
    cluster.api.putPod(pod("z", "10.0.0.3"));
    const one = { endpointsLeftOut: objectsMax - endpointsMax + 1 };
    await expect.poll(() => source.health, PATIENT).toMatchObject(one);
    cluster.api.compact();
    cluster.api.write("pods", '{"type":"ERROR","object":{"code":410}}\n');
    await expect.poll(() => cluster.api.count("watch"), PATIENT).toBe(3);
    expect(source.health).toMatchObject(one);
  });

  it.for([
    { body: " ".repeat(32 * 1024 * 1024 + 1), says: "a page of more than 33554432 bytes" },
    {
      body: JSON.stringify({ metadata: { resourceVersion: "1", continue: "more" }, items: [] }),
      says: "a list of more than 1000 pages",
    },
    { body: "{}", says: `${PODS} answered with no list` },
  ])("is not believed where it is $says", { timeout: 60_000 }, async ({ body, says }) => {
    await cluster.follow();
    await watching();
    cluster.api.fault = (url, response) => {
      if (url.pathname === PODS) response.end(body);
      return url.pathname === PODS;
    };
    cluster.api.write("pods", '{"type":"ERROR","object":{"code":410}}\n');
    await expect
      .poll(() => cluster.source!.health["endpointsTrouble"], { timeout: 60_000 })
      .toBe(says);
    expect(cluster.ids()).toEqual([A, B]);
  });
});
