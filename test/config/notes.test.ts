import { describe, expect, it } from "vitest";
import { DEPLOYMENT_LIMITS, parseDeployment } from "../../src/config/deployment.ts";
import { findNotes } from "../../src/config/notes.ts";

function notesOf(fields: object, more: object = {}) {
  const pool = {
    name: "eu-1",
    region: "eu",
    models: ["llama"],
    agentToken: "agent-token-0123456789",
    relays: [{ url: "http://relay", keys: [{ id: "k1", secret: "a-secret-0123456789" }] }],
  };
  const tenants = [{ id: "t", keys: ["a-key-0123456789"] }];
  const pools = [pool, { ...pool, name: "eu-2", ...fields }];
  const parsed = parseDeployment({ version: 1, pools, tenants, ...more });
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

  describe("of bands", () => {
    const OBJECTIVES = [
      { name: "urgent", priority: 1_000 },
      { name: "batch", priority: -7 },
    ];

    function unreached(priorities: number[], tenant: object, gates = ["flowControl"]) {
      const priorityBands = priorities.map((priority) => ({ priority }));
      const scheduler = { featureGates: gates, flowControl: { priorityBands } };
      const tenants = [{ id: "t", keys: ["a-key-0123456789"], ...tenant }];
      const notes = notesOf({ scheduler, objectives: OBJECTIVES }, { tenants });
      const ofBands = notes.filter(({ path }) => path.endsWith("].priority"));
      for (const { message } of ofBands) expect(message).toContain("no request has this priority");
      return ofBands.map(({ path }) => priorities[Number(/\[(\d+)\]\.priority$/.exec(path)![1])]);
    }

    it.for([
      { name: "below a ceiling", tenant: { priority: 5 }, not: [0, 6, 1_000] },
      { name: "at the ceiling that none is written for", tenant: {}, not: [5, 6, 1_000] },
      {
        name: "below an objective above every ceiling",
        tenant: { priority: 6 },
        not: [0, 5, 1_000],
      },
      {
        name: "where the tenant's objective is below its ceiling",
        tenant: { priority: -6, objective: "batch" },
        not: [0, 5, 6, 1_000],
      },
    ])("names those that no request is in: $name", ({ tenant, not }) => {
      expect(unreached([0, 5, 6, 1_000, -7], tenant)).toEqual(not);
    });

    it("counts only tenants who may use the pool's region", () => {
      const tenants = [
        { id: "t", keys: ["a-key-0123456789"] },
        { id: "u", keys: ["another-key-0123"], priority: 5, regions: ["eu"] },
      ];
      expect(unreached([0, 5], {})).toEqual([5]);
      const flowControl = { priorityBands: [{ priority: 5 }] };
      const scheduler = { featureGates: ["flowControl"], flowControl };
      const notes = (region: string) => notesOf({ scheduler, region }, { tenants }).length;
      expect([notes("eu"), notes("us")]).toEqual([0, 1]);
    });

    it("says nothing where no request waits", () => {
      expect(unreached([17], {}, [])).toEqual([]);
    });
  });

  it("names a size of bodies that never wait, where requests do", () => {
    const { waitingBodyBytesMax } = DEPLOYMENT_LIMITS;
    const notes = (bodyBytesMax: number, featureGates: string[]) =>
      notesOf({ scheduler: { featureGates } }, { limits: { bodyBytesMax } });
    expect(notes(waitingBodyBytesMax + 1, ["flowControl"])).toEqual([
      { path: "limits.bodyBytesMax", message: expect.stringContaining("25165824 bytes") as string },
    ]);
    expect(notes(waitingBodyBytesMax, ["flowControl"])).toEqual([]);
    expect(notes(waitingBodyBytesMax + 1, [])).toEqual([]);
  });

  it("is silent where nothing is to be said", () => {
    expect(notesOf({})).toEqual([]);
  });
});
