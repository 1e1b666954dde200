// How long it takes to ask a pool's object and to have its answer, measured by the calls that are made anyway.
//
//   the QUANTILE of the latest SAMPLES_MAX calls that are younger than SAMPLE_KEPT_MS
//
// A low one, because what a call takes beyond the way is the object's queue, or this isolate's, at that moment;
// not the least, because a clock that stands still between input and output measures some calls as nothing.

const SAMPLES_MAX = 16;
/** A sample counts for so long. */
export const SAMPLE_KEPT_MS = 60_000;
const QUANTILE = 0.25;
/** Above it a call says nothing of the way: it waited in the object. */
export const SAMPLE_MS_MAX = 2_000;

export class ObjectRtt {
  /** A ring. */
  readonly #samplesMs = new Float64Array(SAMPLES_MAX);
  readonly #takenAtMs = new Float64Array(SAMPLES_MAX).fill(-Infinity);
  readonly #sorted = new Float64Array(SAMPLES_MAX);
  #next = 0;
  #rttMs = Infinity;
  #newestAtMs = -Infinity;

  add(sampleMs: number, nowMs: number): void {
    if (!(sampleMs >= 0 && sampleMs <= SAMPLE_MS_MAX)) return;
    this.#samplesMs[this.#next] = sampleMs;
    this.#takenAtMs[this.#next] = nowMs;
    this.#next = (this.#next + 1) % SAMPLES_MAX;
    this.#newestAtMs = nowMs;
    let count = 0;
    for (let i = 0; i < SAMPLES_MAX; i++) {
      if (nowMs - this.#takenAtMs[i]! < SAMPLE_KEPT_MS) this.#sorted[count++] = this.#samplesMs[i]!;
    }
    this.#rttMs = this.#sorted.subarray(0, count).sort()[Math.floor((count - 1) * QUANTILE)]!;
  }

  /** Undefined while it is not known. */
  rttMs(nowMs: number): number | undefined {
    return nowMs - this.#newestAtMs < SAMPLE_KEPT_MS ? this.#rttMs : undefined;
  }
}
