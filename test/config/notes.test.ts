import { describe, expect, it } from "vitest";
import { parseDeployment } from "../../src/config/deployment.ts";
import { findNotes } from "../../src/config/notes.ts";

function notesOf(fields: object) {
  const pool = {
    name: "eu-1",
    region: "eu",
    models: ["llama"],
    agentToken: "agent-token-0123456789",
    relays: [{ url: "http://relay", keys: [{ id: "k1", secret: "a-secret-0123456789" }] }],
  };
  const tenants = [{ id: "t", keys: ["a-key-0123456789"] }];
  const pools = [pool, { ...pool, name: "eu-2", ...fields }];
  const parsed = parseDeployment({ version: 1, pools, tenants });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return findNotes(parsed.value);
}

describe("findNotes", () => {
  it("names targets without a weight among those that have one", () => {
    const targets = [{ modelRewrite: "a" }, { modelRewrite: "b", weight: 1 }];
    const notes = notesOf({ modelRewrites: [{ name: "r", rules: [{ targets }] }] });
    expect(notes).toEqual([
      {
        path: "pools[1].modelRewrites[0].rules[0].targets[0]",
        message: expect.stringContaining("a has no weight and is never chosen") as string,
      },
    ]);
  });

  it("brings what the scheduling configuration has to say", () => {
    const scheduler = {
      apiVersion: "inference.networking.x-k8s.io/v1alpha1",
      kind: "EndpointPickerConfig",
    };
    const notes = notesOf({ scheduler });
    expect(notes.map(({ path }) => path)).toContain("pools[1].scheduler.apiVersion");
  });

  it("is silent where nothing is to be said", () => {
    expect(notesOf({})).toEqual([]);
  });
});
