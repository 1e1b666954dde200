import { describe, expect, it } from "vitest";
import { describeReady } from "../../../src/cli/up/command.ts";

const READY = {
  url: "http://127.0.0.1:8787",
  key: "sk-1",
  adminKey: "admin-1",
  model: "it's",
  pids: {},
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
});
