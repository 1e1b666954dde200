import { describe, expect, it } from "vitest";
import { linkNames, planClusters } from "../../../src/cli/up/clusters.ts";
import { describeReady } from "../../../src/cli/up/command.ts";

const READY = {
  url: "http://127.0.0.1:8787",
  key: "sk-1",
  adminKey: "admin-1",
  model: "it's",
  pids: {},
  clusters: [],
};

describe("describeReady", () => {
  it("prints commands that can be pasted", () => {
    const text = describeReady(READY, "/tmp/logs", ".fairlead");
    expect(text).toContain("npx fairlead explain REQUEST_ID\n");
    expect(text).toContain(String.raw`"model":"it'\''s"`);
  });

  it("names a state directory that explain would not find by itself", () => {
    const text = describeReady(READY, "/tmp/logs", "/tmp/my state");
    expect(text).toContain("npx fairlead explain REQUEST_ID --state-dir '/tmp/my state'\n");
  });

  it("says of clusters where they are, where that is written, and how to lose one", () => {
    const [near] = planClusters([30]);
    const names = { engines: [], agents: [], relays: [], object: "", links: "" };
    const cluster = { ...near!, processes: names, links: linkNames(near!), endpoints: ["a:1"] };
    const text = describeReady({ ...READY, clusters: [cluster] }, "/tmp/logs", "/tmp/s");
    expect(text).toContain("clusters   cluster-1  us-east       1 engines, 30 ms away\n");
    expect(text).toContain("state      /tmp/s/running.json\n");
    expect(text).toContain("npx fairlead chaos kill cluster-1 --state-dir '/tmp/s'\n");
  });
});
