import { describe, expect, it } from "vitest";
import {
  AWAY_MS,
  PoolView,
  PoolViews,
  VIEWS_MAX,
  WORKER_RETRY_RESERVE,
} from "../../../src/worker/upstream/pool-view.ts";

describe("a view of a pool", () => {
  it("takes the object for away for a lease", () => {
    const view = new PoolView();
    expect(view.isAway(5)).toBe(false);
    view.markAway(5);
    expect(view.isAway(5 + AWAY_MS - 1)).toBe(true);
    expect(view.isAway(5 + AWAY_MS)).toBe(false);
  });

  it("lets one request ask whether the object is back, and the others go on without it", () => {
    const view = new PoolView();
    view.beginProbe(0, 500);
    expect(view.isAway(0)).toBe(false);
    view.markAway(0);
    view.beginProbe(AWAY_MS, 500);
    expect(view.isAway(AWAY_MS + 499)).toBe(true);
    view.markBack();
    expect(view.isAway(AWAY_MS + 499)).toBe(false);
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
