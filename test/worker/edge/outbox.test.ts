import { describe, expect, it } from "vitest";
import { EDGE_BATCH_MAX } from "../../../src/scheduler/edge/contracts.ts";
import {
  Outbox,
  OUTBOX_KEY_BYTES_MAX,
  OUTBOX_MAX,
  type PendingCommit,
} from "../../../src/worker/edge/outbox.ts";

function pending(number: number, { keys = new Uint32Array(2) } = {}) {
  return { number, decidedAtMs: 0, commit: { keys } } as PendingCommit;
}

function filled(count: number) {
  const dropped: number[] = [];
  const outbox = new Outbox((some) => void dropped.push(some));
  for (let i = 1; i <= count; i++) outbox.addCommit(pending(i));
  return { outbox, dropped };
}

const end = (ticket: string) => ({ ticket, attempt: 1, how: "left" });

describe("what was not told", () => {
  it("goes in batches, oldest first", () => {
    const { outbox } = filled(EDGE_BATCH_MAX + 1);
    outbox.addEnd(end("a"));
    expect([outbox.firstNumber, outbox.commitCount]).toEqual([1, EDGE_BATCH_MAX + 1]);
    const first = outbox.take();
    expect([first.commits.length, first.ends]).toEqual([EDGE_BATCH_MAX, [end("a")]]);
    expect([outbox.firstNumber, outbox.commitCount]).toEqual([EDGE_BATCH_MAX + 1, 1]);
    expect(outbox.take().commits.map(({ number }) => number)).toEqual([EDGE_BATCH_MAX + 1]);
    expect([outbox.isEmpty, outbox.firstNumber, outbox.commitCount]).toEqual([true, undefined, 0]);
  });

  it("is told again, before what came since, where a call has failed", () => {
    const { outbox } = filled(2);
    outbox.addEnd(end("a"));
    const batch = outbox.take();
    outbox.addCommit(pending(3));
    outbox.addEnd(end("b"));
    outbox.putBack(batch);
    expect([outbox.firstNumber, outbox.commitCount]).toEqual([1, 3]);
    const again = outbox.take();
    expect(again.commits.map(({ number }) => number)).toEqual([1, 2, 3]);
    expect(again.ends).toEqual([end("a"), end("b")]);
  });

  it("is dropped, the oldest first, where it is too much", () => {
    const { outbox, dropped } = filled(OUTBOX_MAX);
    expect(dropped).toEqual([]);
    outbox.addCommit(pending(OUTBOX_MAX + 1));
    expect([outbox.firstNumber, dropped]).toEqual([2, [1]]);
    for (let i = 0; i <= OUTBOX_MAX; i++) outbox.addEnd(end(`t${i}`));
    expect([outbox.take().ends[0], dropped]).toEqual([end("t1"), [1, 1]]);
  });

  it("is dropped where its keys are too many, also those of a call that failed", () => {
    const { outbox, dropped } = filled(0);
    const keys = new Uint32Array(OUTBOX_KEY_BYTES_MAX / 4 / 4);
    for (let i = 1; i <= 4; i++) outbox.addCommit(pending(i, { keys }));
    expect(dropped).toEqual([]);
    const batch = outbox.take();
    outbox.addCommit(pending(5, { keys }));
    outbox.putBack(batch);
    expect([outbox.firstNumber, dropped]).toEqual([2, [1]]);
  });
});
