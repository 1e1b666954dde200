// When each engine's process began, as it reports it: a later start is another process.

/** Process start times are told apart by more than this; a clock may be read twice. */
const RESTART_TOLERANCE_S = 1;
/** A process that says it began this long after it was asked has no clock to speak of. */
const START_AHEAD_S_MAX = 86_400;

export class ProcessStarts {
  /** 0 while unknown. */
  readonly #startS: Float64Array;

  constructor(slots: number) {
    this.#startS = new Float64Array(slots);
  }

  clear(slot: number): void {
    this.#startS[slot] = 0;
  }

  /**
   * Only a later start is a restart: behind one address several processes may answer in turn, and
   * each would be taken for a new one again and again.
   */
  isRestarted(slot: number, startS: number | undefined, sampledAtMs: number): boolean {
    if (startS === undefined || !Number.isFinite(startS) || startS <= 0) return false;
    // One that lies ahead would hide every restart until then.
    if (startS > sampledAtMs / 1_000 + START_AHEAD_S_MAX) return false;
    const known = this.#startS[slot]!;
    if (startS <= known + RESTART_TOLERANCE_S) return false;
    this.#startS[slot] = startS;
    return known !== 0;
  }
}
