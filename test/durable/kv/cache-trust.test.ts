import { describe, expect, it } from "vitest";
import { ACCURACY_WINDOW } from "../../../src/durable/kv/accuracy-window.ts";
import { CacheTrust, TRUST_LIMITS } from "../../../src/durable/kv/cache-trust.ts";
import type { Comparison } from "../../../src/durable/kv/prediction.ts";

const RIGHT: Comparison = {
  predictedTokens: 100,
  errorTokens: 0,
  verdict: "right",
  isCharged: false,
};
const WRONG: Comparison = { ...RIGHT, errorTokens: 100, verdict: "over", isCharged: true };
const { comparedMin, leaseMsMin, leaseMsMax, modelsMax } = TRUST_LIMITS;

class Fixture {
  readonly trust = new CacheTrust();
  nowMs = 1_000;

  say(slots: readonly number[], comparison: Comparison, count = 1, model = "m"): void {
    for (let i = 0; i < count; i++)
      for (const slot of slots) this.trust.compared({ slot, model, nowMs: this.nowMs }, comparison);
  }

  demoted(slot: number): boolean {
    return this.trust.demoted(this.nowMs)[slot] === 1;
  }

  /** Requests until an endpoint is demoted. */
  demote(slot: number): number {
    let count = 0;
    for (; !this.demoted(slot) && count < 1_000; count++) this.say([slot], WRONG);
    return count;
  }
}

describe("CacheTrust", () => {
  it("demotes an endpoint that stays wrong for a lease, then tries it again", () => {
    const fixture = new Fixture();
    fixture.say([1, 2], RIGHT, comparedMin);
    expect(fixture.trust.accuracyOf(1)).toEqual({
      compared: comparedMin,
      withinBlock: comparedMin,
      meanErrorTokens: 0,
    });
    fixture.demote(1);
    expect([fixture.demoted(1), fixture.demoted(2)]).toEqual([true, false]);
    expect(fixture.trust.demotions).toEqual({ endpoint: 1, model: 0 });
    // What led to it stays in sight.
    expect(fixture.trust.accuracyOf(1)!.withinBlock).toBe(comparedMin);
    fixture.nowMs += leaseMsMin - 1;
    expect(fixture.demoted(1)).toBe(true);
    fixture.nowMs += 1;
    expect(fixture.demoted(1)).toBe(false);
    fixture.say([1], RIGHT);
    expect(fixture.trust.accuracyOf(1)!.compared).toBe(1);
  });

  it("judges an engine that is a new process anew, and no more mildly", () => {
    const fixture = new Fixture();
    fixture.say([1], WRONG, comparedMin - 1);
    fixture.trust.endpointRestarted(1);
    fixture.say([1], WRONG, comparedMin - 1);
    expect(fixture.demoted(1)).toBe(false);
    fixture.say([1], WRONG);
    expect(fixture.demoted(1)).toBe(true);
    fixture.trust.endpointRestarted(1);
    expect(fixture.demoted(1)).toBe(false);
    expect(fixture.demote(1)).toBe(comparedMin);
    fixture.nowMs += 2 * leaseMsMin - 1;
    expect(fixture.demoted(1)).toBe(true);
    fixture.nowMs += 1;
    expect(fixture.demoted(1)).toBe(false);
    // Of one that nobody has compared.
    fixture.trust.endpointRestarted(7);
  });

  it("needs so many comparisons, and so large a share of them", () => {
    const fixture = new Fixture();
    expect(fixture.demote(1)).toBe(comparedMin);
    const charged = Math.floor(ACCURACY_WINDOW * TRUST_LIMITS.chargedShareMax);
    for (let i = 0; i < 20; i++) {
      fixture.say([2], RIGHT, ACCURACY_WINDOW - charged);
      fixture.say([2], WRONG, charged);
    }
    expect(fixture.demoted(2)).toBe(false);
    fixture.say([2], WRONG, charged + 1);
    expect(fixture.demoted(2)).toBe(true);
  });

  it("lets mistakes pass that nobody would have avoided, and shows them", () => {
    const fixture = new Fixture();
    fixture.say([1], { ...WRONG, errorTokens: -90, verdict: "under", isCharged: false }, 100);
    expect(fixture.demoted(1)).toBe(false);
    expect(fixture.trust.accuracyOf(1)).toEqual({
      compared: ACCURACY_WINDOW,
      withinBlock: 0,
      meanErrorTokens: -90,
    });
  });

  it("waits longer each time, up to a bound, and as short as at first after a good window", () => {
    const fixture = new Fixture();
    const leases: number[] = [];
    for (let i = 0; i < 8; i++) {
      fixture.demote(1);
      const fromMs = fixture.nowMs;
      while (fixture.demoted(1)) fixture.nowMs += leaseMsMin;
      leases.push(fixture.nowMs - fromMs);
    }
    expect(leases.slice(0, 3)).toEqual([leaseMsMin, 2 * leaseMsMin, 4 * leaseMsMin]);
    expect(leases.slice(-2)).toEqual([leaseMsMax, leaseMsMax]);
    fixture.say([1], RIGHT, ACCURACY_WINDOW);
    fixture.demote(1);
    fixture.nowMs += leaseMsMin;
    expect(fixture.demoted(1)).toBe(false);
  });

  it("demotes a model's prompts where all endpoints are wrong about them, and not the endpoints", () => {
    const fixture = new Fixture();
    fixture.say([1, 2, 3], RIGHT, 10, "good");
    fixture.say([1, 2, 3], WRONG, comparedMin / 3, "bad");
    expect(fixture.trust.isModelDemoted("bad", fixture.nowMs)).toBe(true);
    expect(fixture.trust.isModelDemoted("good", fixture.nowMs)).toBe(false);
    expect([1, 2, 3].map((slot) => fixture.demoted(slot))).toEqual([false, false, false]);
    expect(fixture.trust.demotedModels(fixture.nowMs)).toBe(1);
    fixture.nowMs += leaseMsMin;
    expect(fixture.trust.demotedModels(fixture.nowMs)).toBe(0);
  });

  it("takes one endpoint's mistakes for its own, also where it draws most of a model's requests", () => {
    const fixture = new Fixture();
    fixture.say([2], RIGHT, TRUST_LIMITS.comparedByEndpointMin);
    fixture.demote(1);
    expect([fixture.demoted(1), fixture.trust.isModelDemoted("m", fixture.nowMs)]).toEqual([
      true,
      false,
    ]);
  });

  it("forgets a slot that is given to another, and models past so many", () => {
    const fixture = new Fixture();
    fixture.demote(1);
    fixture.trust.endpointRemoved(1);
    expect([fixture.demoted(1), fixture.trust.accuracyOf(1)]).toEqual([false, undefined]);
    fixture.say([1, 2, 3], WRONG, comparedMin / 3, "bad");
    for (let n = 0; n < modelsMax - 1; n++) fixture.say([4], RIGHT, 1, `m${n}`);
    expect(fixture.trust.isModelDemoted("bad", fixture.nowMs)).toBe(true);
    fixture.say([4], RIGHT, 1, "one more");
    expect(fixture.trust.isModelDemoted("bad", fixture.nowMs)).toBe(false);
  });
});
