import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SequenceTracker } from "../../../../src/agents/collector/kv-events/sequence.ts";

/** What life `life` of a publisher published as `seq`. */
const payload = (seq: number, life = 0) => Buffer.from(`${life}/${seq}`);

/** A tracker that applied live batches up to `seq`. */
function appliedTo(seq: number): SequenceTracker {
  const tracker = new SequenceTracker();
  for (let i = 0; i <= seq; i++) {
    expect(tracker.judgeLive(i, payload(i))).toBe("next");
    tracker.applied(i, payload(i));
  }
  return tracker;
}

describe("live", () => {
  it("may begin at 0", () => {
    expect(new SequenceTracker().judgeLive(0, payload(0))).toBe("next");
  });

  it.for([1, 2])("may have missed batches where it begins at %d", (first) => {
    expect(new SequenceTracker().judgeLive(first, payload(first))).toBe("gap");
  });

  it.for([
    { seq: 6, verdict: "next" },
    { seq: 5, verdict: "duplicate" },
    { seq: 7, verdict: "gap" },
    { seq: 4, verdict: "restart" },
    { seq: 0, verdict: "restart" },
  ])("$seq after 5 is a $verdict", ({ seq, verdict }) => {
    expect(appliedTo(5).judgeLive(seq, payload(seq))).toBe(verdict);
  });

  it("drops what a replay has brought already", () => {
    const tracker = appliedTo(5);
    expect(tracker.judgeLive(8, payload(8))).toBe("gap");
    tracker.beginReplay();
    for (let seq = 5; seq <= 9; seq++) {
      expect(tracker.judgeReplayed(seq, payload(seq))).toBe(seq === 5 ? "duplicate" : "next");
      tracker.applied(seq, payload(seq));
    }
    expect(tracker.judgeLive(8, payload(8))).toBe("duplicate");
    expect(tracker.judgeLive(9, payload(9))).toBe("duplicate");
    expect(tracker.judgeLive(10, payload(10))).toBe("next");
  });

  it("is another's where the last number comes with another batch", () => {
    expect(appliedTo(5).judgeLive(5, payload(5, 1))).toBe("restart");
    expect(appliedTo(0).judgeLive(0, payload(0, 1))).toBe("restart");
  });

  it("goes on anywhere once what was before is given up", () => {
    const tracker = appliedTo(5);
    tracker.drift();
    expect(tracker.judgeLive(50, payload(50))).toBe("next");
    tracker.applied(50, payload(50));
    expect(tracker.judgeLive(52, payload(52))).toBe("gap");
  });

  it("begins anew after a restart", () => {
    const tracker = appliedTo(5);
    expect(tracker.judgeLive(3, payload(3))).toBe("restart");
    tracker.begin();
    expect(tracker.judgeLive(3, payload(3))).toBe("gap");
    expect(tracker.replayFrom).toBe(0);
  });
});

describe("replay", () => {
  it("begins with the batch that was applied last, to see whether it is the same", () => {
    const tracker = appliedTo(5);
    expect(tracker.replayFrom).toBe(5);
    tracker.beginReplay();
    expect(tracker.judgeReplayed(5, payload(5))).toBe("duplicate");
    expect(tracker.judgeReplayed(6, payload(6))).toBe("next");
  });

  it("tells another publisher that has overtaken the first", () => {
    const tracker = appliedTo(5);
    tracker.beginReplay();
    expect(tracker.judgeReplayed(5, payload(5, 1))).toBe("restart");
  });

  it("tells another publisher that has not come that far", () => {
    const tracker = appliedTo(5);
    tracker.beginReplay();
    expect(tracker.isReplayOfAnother).toBe(true);
    tracker.judgeReplayed(5, payload(5));
    expect(tracker.isReplayOfAnother).toBe(false);
    const fresh = new SequenceTracker();
    fresh.beginReplay();
    expect(fresh.isReplayOfAnother).toBe(false);
  });

  it("tells that history is lost, at its beginning and in the middle", () => {
    const tracker = appliedTo(5);
    tracker.beginReplay();
    expect(tracker.judgeReplayed(9, payload(9))).toBe("history-lost");
    tracker.applied(9, payload(9));
    expect(tracker.judgeReplayed(11, payload(11))).toBe("history-lost");
    const fresh = new SequenceTracker();
    fresh.beginReplay();
    expect(fresh.judgeReplayed(2, payload(2))).toBe("history-lost");
  });

  it("does not trust a continuation without the batch before it", () => {
    const tracker = appliedTo(5);
    tracker.beginReplay();
    expect(tracker.judgeReplayed(6, payload(6))).toBe("history-lost");
  });
});

/** A publisher that keeps a few batches and may begin anew; what it publishes may be lost. */
class Publisher {
  readonly #kept: { seq: number; payload: Buffer }[] = [];
  readonly #keepMax: number;
  life = 0;
  #seq = 0;

  constructor(keepMax: number) {
    this.#keepMax = keepMax;
  }

  publish(): { seq: number; payload: Buffer } {
    const batch = { seq: this.#seq, payload: payload(this.#seq, this.life) };
    this.#seq++;
    this.#kept.push(batch);
    if (this.#kept.length > this.#keepMax) this.#kept.shift();
    return batch;
  }

  restart(): void {
    this.life++;
    this.#seq = 0;
    this.#kept.length = 0;
  }

  from(seq: number) {
    return this.#kept.filter((batch) => batch.seq >= seq);
  }
}

describe("with a replay after each loss of the link", () => {
  it("applies exactly what was published since the last void, whatever is lost", () => {
    const step = fc.constantFrom("deliver", "deliver", "deliver", "lose", "restart", "relink");
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 60 }),
        fc.integer({ min: 1, max: 8 }),
        (steps, keepMax) => {
          const publisher = new Publisher(keepMax);
          const tracker = new SequenceTracker();
          /** Applied since everything was void, and whether that is the publisher's whole life. */
          let account: string[] = [];
          let isWhole = true;
          const published: string[][] = [[]];
          const apply = (seq: number, bytes: Buffer) => {
            account.push(bytes.toString());
            tracker.applied(seq, bytes);
          };
          const catchUp = (): void => {
            tracker.beginReplay();
            for (const { seq, payload: bytes } of publisher.from(tracker.replayFrom)) {
              const verdict = tracker.judgeReplayed(seq, bytes);
              if (verdict === "restart") return begin();
              if (verdict === "history-lost") {
                account = [];
                isWhole = false;
              }
              if (verdict !== "duplicate") apply(seq, bytes);
            }
            if (tracker.isReplayOfAnother) begin();
          };
          const begin = (): void => {
            tracker.begin();
            account = [];
            isWhole = true;
            catchUp();
          };
          for (const what of steps) {
            if (what === "restart") {
              publisher.restart();
              published.push([]);
              // A new process means a new link.
              catchUp();
              continue;
            }
            if (what === "relink") {
              catchUp();
              continue;
            }
            const batch = publisher.publish();
            published.at(-1)!.push(batch.payload.toString());
            if (what === "lose") continue;
            const verdict = tracker.judgeLive(batch.seq, batch.payload);
            if (verdict === "restart") begin();
            else if (verdict === "gap") catchUp();
            if (tracker.judgeLive(batch.seq, batch.payload) === "next")
              apply(batch.seq, batch.payload);
          }
          catchUp();
          const truth = published.at(-1)!;
          expect(account).toEqual(truth.slice(truth.length - account.length));
          // One batch too few is taken for history that begins at 1.
          expect(account.length).toBeGreaterThanOrEqual(isWhole ? truth.length - 1 : 0);
        },
      ),
      { numRuns: 2_000 },
    );
  });
});
