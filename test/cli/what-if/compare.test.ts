import { expect, it } from "vitest";
import { compare } from "../../../src/cli/what-if/compare.ts";
import { explain } from "../../../src/scheduler/decisions/explain.ts";
import {
  parseReplayable,
  type ReplayableAttempt,
} from "../../../src/scheduler/decisions/replay-document.ts";
import { TestPool } from "../../scheduler/support/pool.ts";
import { profileConfig } from "../../scheduler/support/profile-config.ts";
import { recordPick } from "../../scheduler/support/recorded.ts";

const OTHER = profileConfig({ scorers: [{ type: "queue-scorer" }] });

function attempt(): ReplayableAttempt {
  const pool = new TestPool(2);
  pool.sampleAll();
  const text = JSON.stringify(explain("pool-a", [recordPick(pool, "Hello")!]));
  const parsed = parseReplayable(JSON.parse(text));
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return parsed.value.attempts[0]!;
}

it("counts what cannot be replayed, and compares the others", async () => {
  const good = attempt();
  const broken: ReplayableAttempt = {
    ...good,
    get candidates(): never {
      throw new Error("invariant broken: a plugin of tomorrow");
    },
  };
  const decisions = [good, broken, undefined, good].map((each, i) => ({
    requestId: `r${i}`,
    pool: "pool-a",
    attempt: each,
  }));
  const comparison = await compare("pool-a", decisions, OTHER);
  expect(comparison).toMatchObject({ decisions: 2, unreadable: 2, unrecorded: 0 });
});

it("tells decisions at the edge that have no record from those that cannot be read", async () => {
  const known = { pool: "pool-a", attempt: undefined };
  const decisions = [
    { ...known, requestId: "r0", attempt: attempt() },
    { ...known, requestId: "r1", isUnrecorded: true as const },
    { ...known, requestId: "r2" },
  ];
  const comparison = await compare("pool-a", decisions, OTHER);
  expect(comparison).toMatchObject({ decisions: 1, unreadable: 1, unrecorded: 1 });
});
