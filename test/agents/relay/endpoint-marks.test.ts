import { describe, expect, it } from "vitest";
import type { Mark } from "../../../src/agents/protocol/messages.ts";
import {
  EndpointMarks,
  MARK_LIMITS,
  type Trial,
} from "../../../src/agents/relay/endpoint-marks.ts";

const { leaseMsMin, leaseMsMax, forgetMs, endpointsMax, trialMsMax } = MARK_LIMITS;
const { unavailableStreak, errorStreak, timeoutStreak } = MARK_LIMITS;
const E = "e:1";

function createMarks(rng = () => 0) {
  let nowMs = 0;
  const changes: Mark[] = [];
  const marks = new EndpointMarks({
    clock: () => nowMs,
    rng,
    onChange: (mark) => changes.push(mark),
  });
  return {
    marks,
    changes,
    now: () => nowMs,
    advance: (ms: number) => (nowMs += ms),
    /** Fails once after the standing lease, and gives the new lease. */
    failAgain: () => {
      nowMs += marks.standing()[0]?.leaseMs ?? 0;
      marks.failed(E, "refused");
      return marks.standing()[0]?.leaseMs;
    },
  };
}

describe("a mark", () => {
  it("is set at once and ends with its lease", () => {
    const { marks, advance, changes } = createMarks();
    marks.failed(E, "refused");
    expect(changes).toEqual([{ endpoint: E, leaseMs: leaseMsMin, why: "refused" }]);
    advance(leaseMsMin - 1);
    expect(marks.isMarked(E)).toBe(true);
    expect(marks.standing()).toEqual([{ endpoint: E, leaseMs: 1, why: "refused" }]);
    advance(1);
    expect(marks.isMarked(E)).toBe(false);
    expect(marks.standing()).toEqual([]);
    expect(changes).toHaveLength(1);
  });

  it("lasts twice as long each time, up to a bound", () => {
    const { failAgain } = createMarks();
    expect(Array.from({ length: 7 }, failAgain)).toEqual([
      1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000,
    ]);
  });

  it("is shorter by up to a quarter, at random", () => {
    const { failAgain } = createMarks(() => 0.999_999);
    expect([failAgain(), failAgain()]).toEqual([751, 1_501]);
  });

  it("is one failure however many requests break under it", () => {
    const { marks, changes, failAgain } = createMarks();
    for (let i = 0; i < 100; i++) marks.failed(E, "reset");
    expect(changes).toHaveLength(1);
    expect(failAgain()).toBe(2 * leaseMsMin);
  });

  it("is cleared by an answer, and its past with it", () => {
    const { marks, changes, failAgain, now, advance } = createMarks();
    failAgain();
    failAgain();
    advance(1);
    marks.reached(E, now());
    expect(marks.isMarked(E)).toBe(false);
    expect(changes.at(-1)).toEqual({ endpoint: E, leaseMs: 0, why: "answered" });
    expect(failAgain()).toBe(leaseMsMin);
  });

  it("is not cleared by the answer to a request from before it", () => {
    const { marks, now, advance } = createMarks();
    const sentAtMs = now();
    advance(1);
    marks.failed(E, "reset");
    marks.reached(E, sentAtMs);
    expect(marks.isMarked(E)).toBe(true);
  });

  it("that has ended is cleared without a word", () => {
    const { marks, changes, now, advance } = createMarks();
    marks.failed(E, "reset");
    advance(leaseMsMax);
    marks.reached(E, now());
    expect(changes).toHaveLength(1);
  });

  it("is not remembered for good", () => {
    const { failAgain, advance } = createMarks();
    failAgain();
    advance(leaseMsMin + forgetMs);
    expect(failAgain()).toBe(2 * leaseMsMin);
    advance(2 * leaseMsMin + forgetMs + 1);
    expect(failAgain()).toBe(leaseMsMin);
  });

  it("goes with its endpoint", () => {
    const { marks } = createMarks();
    marks.failed(E, "refused");
    marks.failed("f:1", "refused");
    marks.retain(new Set(["f:1"]));
    expect([marks.isMarked(E), marks.isMarked("f:1")]).toEqual([false, true]);
  });

  it("is set on a bounded number of endpoints", () => {
    const { marks } = createMarks();
    for (let i = 0; i < endpointsMax; i++) marks.failed(`e:${i}`, "refused");
    expect(marks.isMarked(`e:${endpointsMax - 1}`)).toBe(true);
    marks.failed("late:1", "refused");
    expect(marks.isMarked("late:1")).toBe(false);
  });
});

describe("an endpoint whose lease is over", () => {
  function onProbation() {
    const made = createMarks();
    made.marks.failed(E, "refused");
    expect(made.marks.mayTry(E)).toBe(false);
    made.advance(leaseMsMin);
    return made;
  }

  it("is tried by one request at a time", () => {
    const { marks, advance, now } = onProbation();
    const endsMs = now() + trialMsMax;
    expect([marks.mayTry(E), marks.mayTry(E)]).toEqual([{ endpoint: E, endsMs }, false]);
    advance(trialMsMax - 1);
    expect(marks.mayTry(E)).toBe(false);
    advance(1);
    expect([marks.mayTry(E), marks.mayTry(E)]).toMatchObject([{ endpoint: E }, false]);
  });

  it("is open to all once it has answered", () => {
    const { marks, now } = onProbation();
    marks.mayTry(E);
    marks.reached(E, now());
    expect([marks.mayTry(E), marks.mayTry(E)]).toEqual([true, true]);
  });

  it("is tried by the next one if a trial shows nothing", () => {
    const { marks } = onProbation();
    marks.undecided(marks.mayTry(E) as Trial);
    expect([marks.mayTry(E), marks.mayTry(E)]).toMatchObject([{ endpoint: E }, false]);
  });

  it("is not given to another one by a trial that is over", () => {
    const { marks, advance } = onProbation();
    const late = marks.mayTry(E) as Trial;
    advance(trialMsMax);
    expect(marks.mayTry(E)).not.toBe(false);
    marks.undecided(late);
    expect(marks.mayTry(E)).toBe(false);
  });

  it.for(["unavailable", "erred", "timedOut"] as const)("is marked again if it has %s", (how) => {
    const { marks } = onProbation();
    marks.mayTry(E);
    marks[how](E);
    expect(marks.standing()).toMatchObject([{ leaseMs: 2 * leaseMsMin }]);
  });
});

describe("other answers 5xx", () => {
  it("mark an endpoint only when many come in a row", () => {
    const { marks, now } = createMarks();
    for (let i = 1; i < errorStreak; i++) marks.erred(E);
    expect([marks.isMarked(E), marks.mayTry(E), marks.mayTry(E)]).toEqual([false, true, true]);
    marks.reached(E, now());
    for (let i = 1; i < errorStreak; i++) marks.erred(E);
    expect(marks.isMarked(E)).toBe(false);
    marks.erred(E);
    expect(marks.standing()).toEqual([{ endpoint: E, leaseMs: leaseMsMin, why: "unavailable" }]);
  });
});

describe("answers 502 and 503", () => {
  it("mark an endpoint only when several come in a row", () => {
    const { marks } = createMarks();
    for (let i = 1; i < unavailableStreak; i++) marks.unavailable(E);
    expect(marks.isMarked(E)).toBe(false);
    marks.unavailable(E);
    expect(marks.standing()).toEqual([{ endpoint: E, leaseMs: leaseMsMin, why: "unavailable" }]);
  });

  it("count from the start after a success", () => {
    const { marks, now } = createMarks();
    for (let i = 1; i < unavailableStreak; i++) marks.unavailable(E);
    marks.reached(E, now());
    marks.unavailable(E);
    expect(marks.isMarked(E)).toBe(false);
  });

  it("count from the start after a while", () => {
    const { marks, advance } = createMarks();
    for (let i = 1; i < unavailableStreak; i++) marks.unavailable(E);
    advance(forgetMs + 1);
    marks.unavailable(E);
    expect(marks.isMarked(E)).toBe(false);
  });
});

describe("prefills that do not end in time", () => {
  it("mark an endpoint only when several come in a row", () => {
    const { marks } = createMarks();
    for (let i = 1; i < timeoutStreak; i++) marks.timedOut(E);
    expect(marks.isMarked(E)).toBe(false);
    marks.timedOut(E);
    expect(marks.standing()).toEqual([{ endpoint: E, leaseMs: leaseMsMin, why: "timeout" }]);
  });

  it("count from the start after a success", () => {
    const { marks, now } = createMarks();
    for (let i = 1; i < timeoutStreak; i++) marks.timedOut(E);
    marks.reached(E, now());
    marks.timedOut(E);
    expect(marks.isMarked(E)).toBe(false);
  });
});
