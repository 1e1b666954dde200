import { describe, expect, it } from "vitest";
import {
  RESTART_CEILING_MS,
  RESTART_WINDOW_MS,
  Restarts,
  RESTARTS_MAX,
} from "../../../src/cli/up/restarts.ts";

const NEARLY_ONE = 1 - Number.EPSILON;

describe("Restarts", () => {
  it("waits at random below a ceiling that doubles up to its maximum", () => {
    const { min, max } = RESTART_CEILING_MS;
    const restarts = new Restarts();
    const pauses = Array.from({ length: RESTARTS_MAX }, (_, i) => restarts.next(i, NEARLY_ONE)!);
    expect(pauses.map((ms) => Math.round(ms))).toEqual(
      Array.from({ length: RESTARTS_MAX }, (_, i) => Math.min(max, min * 2 ** i)),
    );
    expect(new Restarts().next(0, 0)).toBe(0);
    expect(new Restarts().next(0, 0.5)).toBe(min / 2);
  });

  it("gives up at the end after the last restart allowed in the window", () => {
    const restarts = new Restarts();
    for (let i = 0; i < RESTARTS_MAX; i++) expect(restarts.next(i, 0)).toBe(0);
    expect(restarts.next(RESTART_WINDOW_MS - 1, 0)).toBeUndefined();
  });

  it("forgets restarts that are older than the window", () => {
    const restarts = new Restarts();
    for (let i = 0; i < RESTARTS_MAX; i++) restarts.next(i, 0);
    expect(restarts.next(RESTART_WINDOW_MS, NEARLY_ONE)).toBeDefined();
    expect(restarts.next(RESTART_WINDOW_MS, NEARLY_ONE)).toBeUndefined();
    const laterMs = 3 * RESTART_WINDOW_MS;
    expect(Math.round(restarts.next(laterMs, NEARLY_ONE)!)).toBe(RESTART_CEILING_MS.min);
  });
});
