// When a process that ended is started again: soon at first, later each time, and not for ever.

/** Restarts of one process within RESTART_WINDOW_MS. One more end means that it cannot run. */
export const RESTARTS_MAX = 8;
export const RESTART_WINDOW_MS = 60_000;

/** The pause before a restart is random below a ceiling that doubles with each one in the window. */
export const RESTART_CEILING_MS = { min: 100, max: 5_000 } as const;

export interface RestartLimits {
  readonly countMax: number;
  readonly windowMs: number;
  readonly ceilingMs: { readonly min: number; readonly max: number };
}

export const RESTART_LIMITS: RestartLimits = {
  countMax: RESTARTS_MAX,
  windowMs: RESTART_WINDOW_MS,
  ceilingMs: RESTART_CEILING_MS,
};

/** The restarts of one process. Holds at most `countMax` times. */
export class Restarts {
  readonly #limits: RestartLimits;
  #atMs: number[] = [];

  constructor(limits: RestartLimits = RESTART_LIMITS) {
    this.#limits = limits;
  }

  /**
   * The process has ended: how long to wait before it is started again, or undefined to give up.
   * `random` is in [0, 1): processes that died of one cause should not come back in step.
   */
  next(nowMs: number, random: number): number | undefined {
    const { countMax, windowMs, ceilingMs } = this.#limits;
    this.#atMs = this.#atMs.filter((atMs) => nowMs - atMs < windowMs);
    const count = this.#atMs.length;
    if (count >= countMax) return undefined;
    this.#atMs.push(nowMs);
    return random * Math.min(ceilingMs.max, ceilingMs.min * 2 ** count);
  }
}
