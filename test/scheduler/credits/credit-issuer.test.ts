import { describe, expect, it } from "vitest";
import { CreditIssuer } from "../../../src/scheduler/credits/credit-issuer.ts";

const TTL_MS = 1_000;
const STARTED_MS = 50_000;
/** After the time in which nothing is granted. */
const LATER_MS = STARTED_MS + 2 * TTL_MS;

function issuer(holdersMax?: number): CreditIssuer {
  const most = holdersMax === undefined ? {} : { holdersMax };
  const times = { startedAtMs: STARTED_MS, ttlMs: TTL_MS, toldWithinMs: 0 };
  return new CreditIssuer({ epoch: "e1", ...times, ...most });
}

function ask(holder: string, want: number, spent = 0) {
  return { scope: "pool/a", holder, epoch: "e1", spent, want };
}

describe("CreditIssuer", () => {
  it("grants nothing for one life of a grant after its start", () => {
    const credits = issuer();
    expect(credits.grant(ask("a", 10), 100, STARTED_MS)).toMatchObject({ epoch: "e1", limit: 0 });
    expect(credits.grant(ask("a", 10), 100, STARTED_MS + TTL_MS).limit).toBe(0);
    expect(credits.grant(ask("a", 10), 100, LATER_MS).limit).toBe(10);
  });

  it("says totals, which rise by what is told to be spent, and numbers that rise", () => {
    const credits = issuer();
    const first = credits.grant(ask("a", 10), 100, LATER_MS);
    const second = credits.grant(ask("a", 10, 7), 93, LATER_MS + 10);
    expect(second).toMatchObject({ limit: 17, ttlMs: TTL_MS });
    expect(second.seq).toBeGreaterThan(first.seq);
    // An older ask that comes late takes nothing back.
    expect(credits.grant(ask("a", 10, 3), 93, LATER_MS + 20).limit).toBe(17);
    expect(credits.outstanding(LATER_MS + 20)).toBe(10);
  });

  it("gives one holder at most half of the room, whatever it wants", () => {
    expect(issuer().grant(ask("a", 1_000), 100, LATER_MS).limit).toBe(50);
  });

  it("gives who wants more, more", () => {
    const credits = issuer();
    for (let round = 0; round < 40; round++) {
      const nowMs = LATER_MS + round * 100;
      credits.grant(ask("busy", 80), 40, nowMs);
      credits.grant(ask("calm", 4), 40, nowMs);
      credits.grant(ask("calmer", 1), 40, nowMs);
    }
    const nowMs = LATER_MS + 4_000;
    expect(credits.grant(ask("busy", 80), 40, nowMs).limit).toBe(20);
    expect(credits.grant(ask("calm", 4), 40, nowMs).limit).toBe(4);
    expect(credits.grant(ask("calmer", 1), 40, nowMs).limit).toBe(1);
  });

  it("counts a higher limit until it has ended, for the lower one may not have arrived", () => {
    const credits = issuer();
    credits.grant(ask("a", 40), 100, LATER_MS);
    expect(credits.grant(ask("a", 5), 100, LATER_MS + 100).limit).toBe(5);
    expect(credits.outstanding(LATER_MS + 100)).toBe(40);
    expect(credits.outstanding(LATER_MS + TTL_MS)).toBe(40);
    expect(credits.outstanding(LATER_MS + TTL_MS + 99)).toBe(5);
    expect(credits.outstanding(LATER_MS + 2 * TTL_MS)).toBe(0);
  });

  it("counts a higher limit no more once its holder says that it goes by a later grant", () => {
    const credits = issuer();
    const high = credits.grant(ask("a", 40), 100, LATER_MS).seq;
    const low = credits.grant({ ...ask("a", 5, 2), taken: high }, 98, LATER_MS + 100).seq;
    expect(credits.outstanding(LATER_MS + 100)).toBe(38);
    const last = credits.grant({ ...ask("a", 5, 3), taken: low }, 97, LATER_MS + 200);
    expect(last.limit).toBe(8);
    expect(credits.outstanding(LATER_MS + 200)).toBe(5);
    // One that comes late brings nothing back.
    credits.grant({ ...ask("a", 5, 2), taken: high }, 97, LATER_MS + 210);
    expect(credits.outstanding(LATER_MS + 210)).toBe(5);
  });

  it.for([NaN, -1, Infinity, 0.5])("takes %s for no number of a grant of its own", (wrong) => {
    const credits = issuer();
    credits.grant(ask("a", 40), 100, LATER_MS);
    credits.grant(ask("a", 5), 100, LATER_MS + 100);
    const strange = { ...ask("a", 5), taken: wrong };
    credits.grant(strange, 100, LATER_MS + 200);
    expect(credits.outstanding(LATER_MS + 200)).toBe(40);
    const ofAnother = { ...ask("a", 5), epoch: "e0", taken: 2 };
    credits.grant(ofAnother, 100, LATER_MS + 300);
    expect(credits.outstanding(LATER_MS + 300)).toBe(40);
  });

  it("counts a grant until what was spent at its end is known", () => {
    const credits = new CreditIssuer({
      epoch: "e1",
      startedAtMs: STARTED_MS,
      ttlMs: TTL_MS,
      toldWithinMs: 300,
    });
    credits.grant(ask("a", 10), 100, LATER_MS);
    expect(credits.outstanding(LATER_MS + TTL_MS + 300)).toBe(10);
    expect(credits.outstanding(LATER_MS + TTL_MS + 350)).toBe(0);
  });

  it("grants again what is spent and told, and nothing where the room is used up", () => {
    const credits = issuer();
    credits.grant(ask("a", 8), 10, LATER_MS);
    expect(credits.grant(ask("a", 8, 5), 0, LATER_MS + 10).limit).toBe(5);
    expect(credits.grant(ask("b", 8), 0, LATER_MS + 10).limit).toBe(0);
  });

  it("keeps scopes apart", () => {
    const credits = issuer();
    credits.grant(ask("a", 10), 100, LATER_MS);
    const other = { ...ask("a", 20), scope: "pool/b" };
    expect(credits.grant(other, 100, LATER_MS)).toMatchObject({ scope: "pool/b", limit: 20 });
    expect(credits.outstanding(LATER_MS, "pool/a")).toBe(10);
    expect(credits.outstanding(LATER_MS, "pool/b")).toBe(20);
    expect(credits.outstanding(LATER_MS, "pool/c")).toBe(0);
    expect(credits.outstanding(LATER_MS)).toBe(30);
  });

  it("lets who has some and spends none give way to who gets none", () => {
    const credits = issuer();
    credits.grant(ask("idle", 1), 1, LATER_MS);
    expect(credits.grant(ask("new", 1), 1, LATER_MS + 10).limit).toBe(0);
    expect(credits.grant(ask("idle", 1), 1, LATER_MS + 20).limit).toBe(0);
    expect(credits.grant(ask("new", 1), 1, LATER_MS + TTL_MS + 100).limit).toBe(1);
  });

  it("gives back nothing that gave way before somebody else has got it", () => {
    const credits = issuer();
    const taken = credits.grant(ask("idle", 1), 1, LATER_MS).seq;
    credits.grant(ask("new", 1), 1, LATER_MS + 10);
    const low = credits.grant({ ...ask("idle", 1), taken }, 1, LATER_MS + 20);
    const again = { ...ask("idle", 1), taken: low.seq };
    expect(credits.grant(again, 1, LATER_MS + 30).limit).toBe(0);
    expect(credits.outstanding(LATER_MS + 30)).toBe(0);
    const fed = credits.grant(ask("new", 1), 1, LATER_MS + 40);
    expect(fed.limit).toBe(1);
    // Spent, told and over.
    credits.grant({ ...ask("new", 0, 1), taken: fed.seq }, 1, LATER_MS + 50);
    expect(credits.grant(again, 1, LATER_MS + 60).limit).toBe(1);
  });

  it("gives back what gave way when nobody else has wanted it for a grant's life", () => {
    const credits = issuer();
    let taken = credits.grant(ask("idle", 1), 1, LATER_MS).seq;
    credits.grant(ask("gone", 1), 1, LATER_MS + 10);
    for (let ms = 20; ms <= 1_000; ms += 20) {
      const { limit, seq } = credits.grant({ ...ask("idle", 1), taken }, 1, LATER_MS + ms);
      expect(limit).toBe(0);
      taken = seq;
    }
    expect(credits.grant(ask("idle", 1), 1, LATER_MS + 10 + 1.1 * TTL_MS).limit).toBe(1);
  });

  it("remembers so many holders and no more, and forgets those that are silent", () => {
    const credits = issuer(2);
    credits.grant(ask("a", 5), 100, LATER_MS);
    credits.grant({ ...ask("b", 5), scope: "pool/b" }, 100, LATER_MS);
    expect(credits.grant(ask("c", 5, 3), 100, LATER_MS)).toMatchObject({ limit: 3 });
    expect(credits.holders).toBe(2);
    expect(credits.grant(ask("c", 5, 3), 100, LATER_MS + 2 * TTL_MS).limit).toBe(8);
    expect(credits.holders).toBe(1);
  });

  it.for([NaN, -1, Infinity])("takes %s for no tokens at all", (wrong) => {
    const credits = issuer();
    expect(credits.grant(ask("a", wrong), 100, LATER_MS).limit).toBe(0);
    expect(credits.grant(ask("b", 10, wrong), 100, LATER_MS).limit).toBe(10);
    expect(credits.grant(ask("c", 10), wrong, LATER_MS).limit).toBe(0);
  });
});
