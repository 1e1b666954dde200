import { describe, expect, it } from "vitest";
import { drainNotes, jurisdictionNotes } from "../../../src/durable/directory/pool-notes.ts";
import { createDeployment } from "../deployments.ts";

const nowhere = createDeployment({ pools: ["a", "b"] });
const eu = createDeployment({ pools: ["a", "b"], jurisdiction: "eu" });

describe("jurisdictionNotes", () => {
  it("say of each pool that moved what that costs", () => {
    const notes = jurisdictionNotes(nowhere, eu, true);
    expect(notes).toHaveLength(2);
    expect(notes[0]).toMatch(/^pool a: it has moved from no jurisdiction to eu/);
    expect(jurisdictionNotes(eu, eu, true)).toEqual([]);
    expect(jurisdictionNotes(eu, nowhere, true)[1]).toMatch(/^pool b: .* from eu to no jur/);
  });

  it("say nothing of a pool that is new or gone", () => {
    const none = { ...eu, pools: [] };
    expect(jurisdictionNotes(none, eu, true)).toEqual([]);
    expect(jurisdictionNotes(eu, none, true)).toEqual([]);
  });

  it("say where none is kept", () => {
    expect(jurisdictionNotes(nowhere, eu, false)).toEqual([expect.stringContaining("of a, b are")]);
    expect(jurisdictionNotes(eu, nowhere, false)).toEqual([]);
  });
});

describe("drainNotes", () => {
  it("name the models that nobody serves any more", () => {
    expect(drainNotes(nowhere, new Set(["a"]), "a")).toEqual([]);
    expect(drainNotes(nowhere, new Set(["a", "b"]), "a")).toEqual([expect.stringContaining(" m:")]);
  });
});
