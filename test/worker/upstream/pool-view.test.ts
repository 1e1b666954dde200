import { describe, expect, it } from "vitest";
import {
  AWAY_MS,
  PoolView,
  PoolViews,
  SNAPSHOT_CHOICES,
  SNAPSHOT_FRESH_MS,
  SNAPSHOT_SERVES_MS,
  VIEWS_MAX,
  WORKER_RETRY_RESERVE,
} from "../../../src/worker/upstream/pool-view.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";

function viewOf(loads: Readonly<Record<string, number>>, atMs = 0): PoolView {
  const view = new PoolView();
  view.update({ addresses: Object.keys(loads), loads: Object.values(loads) }, atMs);
  return view;
}

describe("a view of a pool", () => {
  it("serves nothing before its first snapshot, and wants one", () => {
    const view = new PoolView();
    expect(view.canServe(0)).toBe(false);
    expect(view.choose([], 0, Math.random)).toEqual([]);
    expect(view.wantsSnapshot(0)).toBe(true);
  });

  it("wants another one when it is no longer fresh, and stops serving when it is too old", () => {
    const view = viewOf({ a: 0 }, 1_000);
    expect(view.wantsSnapshot(1_000 + SNAPSHOT_FRESH_MS - 1)).toBe(false);
    expect(view.wantsSnapshot(1_000 + SNAPSHOT_FRESH_MS)).toBe(true);
    expect(view.choose([], 1_000 + SNAPSHOT_SERVES_MS - 1, Math.random)).toEqual(["a"]);
    expect(view.choose([], 1_000 + SNAPSHOT_SERVES_MS, Math.random)).toEqual([]);
  });

  it("takes the object for away for a lease", () => {
    const view = new PoolView();
    expect(view.isAway(5)).toBe(false);
    view.markAway(5);
    expect(view.isAway(5 + AWAY_MS - 1)).toBe(true);
    expect(view.isAway(5 + AWAY_MS)).toBe(false);
  });

  it("takes the less loaded of two choices, and never an excluded endpoint", () => {
    const rng = createRng(3);
    for (let i = 0; i < 200; i++) {
      const view = viewOf({ busy: 9, idle: 1, gone: 0 });
      const chosen = view.choose(["gone"], 0, rng);
      expect(chosen).toEqual(["idle", "busy"]);
    }
  });

  it("gives a bounded number of endpoints, each once", () => {
    const loads = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`e${i}`, i]));
    const chosen = viewOf(loads).choose([], 0, createRng(1));
    expect(new Set(chosen).size).toBe(SNAPSHOT_CHOICES);
  });

  it("counts what it sends, so that old loads do not gather everything in one place", () => {
    const view = viewOf({ a: 0, b: 0, c: 0, d: 0 });
    const rng = createRng(7);
    const sent = new Map<string, number>();
    for (let i = 0; i < 400; i++) {
      const [first] = view.choose([], 0, rng);
      sent.set(first!, (sent.get(first!) ?? 0) + 1);
    }
    // Two choices keep the greatest load within a few of the mean, one choice within dozens.
    for (const count of sent.values()) expect(Math.abs(count - 100)).toBeLessThan(8);
  });
});

describe("views", () => {
  it("are one for each pool, and start with a full retry budget", () => {
    const views = new PoolViews();
    const view = views.of("eu-1");
    expect(views.of("eu-1")).toBe(view);
    expect(views.of("eu-2")).not.toBe(view);
    for (let i = 0; i < WORKER_RETRY_RESERVE; i++) expect(view.retries.tryWithdraw()).toBe(true);
    expect(view.retries.tryWithdraw()).toBe(false);
  });

  it("are bounded", () => {
    const views = new PoolViews();
    const first = views.of("p0");
    for (let i = 1; i < VIEWS_MAX; i++) views.of(`p${i}`);
    expect(views.of("p0")).toBe(first);
    views.of("one-more");
    expect(views.of("p0")).not.toBe(first);
  });
});
