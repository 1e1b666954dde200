import { describe, expect, it } from "vitest";
import { hasRole, ROLE_LABEL, type Stage } from "../../src/scheduler/roles.ts";
import { pickContext } from "./support/pick-context.ts";

const STAGES: readonly Stage[] = ["encode", "prefill", "decode"];

describe("hasRole", () => {
  it.for([
    { role: undefined, want: ["decode"] },
    { role: "encode", want: ["encode"] },
    { role: "prefill", want: ["prefill"] },
    { role: "decode", want: ["decode"] },
    { role: "encode-prefill", want: ["encode", "prefill"] },
    { role: "encode-decode", want: ["encode", "decode"] },
    { role: "prefill-decode", want: ["prefill", "decode"] },
    { role: "both", want: ["prefill", "decode"] },
    { role: "encode-prefill-decode", want: ["encode", "prefill", "decode"] },
    { role: "", want: [] },
    { role: "Decode", want: [] },
    { role: "constructor", want: [] },
  ])("of $role: $want", ({ role, want }) => {
    const context = pickContext([{ labels: role === undefined ? {} : { [ROLE_LABEL]: role } }]);
    expect(STAGES.filter((stage) => hasRole(context, 0, stage))).toEqual(want);
  });
});
