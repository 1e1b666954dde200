// A copy of something remote that all requests of an isolate share.
//
// Nothing can push to an isolate, and a promise made in one request must not be awaited in another:
// the first request may end and take its I/O with it. So the copy is plain data, and whoever finds it
// old reads it anew on its own account.
//
//   age    0 ─────── freshMs ─────────── usableMs ──────────────────── keptMs ─────►
//          use it    use it, one request  read first; use it only      unavailable
//                    reads in background  if the read fails

export interface SharedCopyAges {
  /** Up to this age the copy is used as it is. */
  readonly freshMs: number;
  /** Up to this age it is used while one request reads it anew in the background. */
  readonly usableMs: number;
  /** Up to this age it is used when it cannot be read. */
  readonly keptMs: number;
  /** How long one read may take. */
  readonly deadlineMs: number;
  /** After a failed read nobody tries again for this long. */
  readonly retryMs: number;
}

/** What a read needs of the request on whose account it happens. */
export interface Reader<Value> {
  /**
   * Reads anew; told what is known, if anything is. What it returns makes the value, and takes over whatever else
   * has been read: it is called at once, and only where nothing newer was read meanwhile, and in time.
   */
  readonly read: (known: Value | undefined) => Promise<() => Value>;
  readonly waitUntil: (work: Promise<void>) => void;
}

export class SharedCopy<Value> {
  readonly #ages: SharedCopyAges;
  #held: { readonly value: Value; readonly readAtMs: number } | undefined;
  /** Until then a request is reading in the background. */
  #readingUntilMs = 0;
  /** Until then the last read counts as failed, and nobody waits for another one. */
  #failedUntilMs = 0;
  /** Counts `forget`, so that a read begun before it does not bring the old value back. */
  #generation = 0;
  /** Counts reads as they begin. */
  #begun = 0;
  /** Of the read that is held. */
  #heldBegun = 0;

  constructor(ages: SharedCopyAges) {
    this.#ages = ages;
  }

  /** The value; undefined if it could not be read and no copy is young enough to stand in. */
  async get(reader: Reader<Value>): Promise<Value | undefined> {
    const nowMs = Date.now();
    const ageMs = this.ageMs(nowMs);
    if (ageMs < this.#ages.freshMs) return this.#held!.value;
    const hasFailed = nowMs < this.#failedUntilMs;
    if (ageMs < this.#ages.usableMs) {
      const { value } = this.#held!;
      if (!hasFailed && nowMs >= this.#readingUntilMs) {
        this.#readingUntilMs = nowMs + this.#ages.deadlineMs;
        reader.waitUntil(this.#refresh(reader));
      }
      return value;
    }
    if (!hasFailed) await this.#refresh(reader);
    return this.ageMs(nowMs) < this.#ages.keptMs ? this.#held?.value : undefined;
  }

  /** The value where nobody has to read anything. */
  fresh(nowMs: number): Value | undefined {
    return this.ageMs(nowMs) < this.#ages.freshMs ? this.#held!.value : undefined;
  }

  /** Infinity while there is no copy. */
  ageMs(nowMs: number): number {
    return this.#held === undefined ? Infinity : nowMs - this.#held.readAtMs;
  }

  /** The next `get` reads anew. Call it after a write of this isolate. */
  forget(): void {
    this.#held = undefined;
    this.#readingUntilMs = 0;
    this.#failedUntilMs = 0;
    this.#generation++;
  }

  /** Never rejects: the copy of a failed read stays as old as it is. */
  async #refresh(reader: Reader<Value>): Promise<void> {
    const generation = this.#generation;
    const begun = ++this.#begun;
    try {
      const take = await withDeadline(reader.read(this.#held?.value), this.#ages.deadlineMs);
      if (generation !== this.#generation || begun < this.#heldBegun) return;
      this.#held = { value: take(), readAtMs: Date.now() };
      this.#heldBegun = begun;
      this.#failedUntilMs = 0;
    } catch {
      // The object is unreachable, overloaded or too slow, or was reset during the call.
      if (generation === this.#generation) this.#failedUntilMs = Date.now() + this.#ages.retryMs;
    } finally {
      if (generation === this.#generation) this.#readingUntilMs = 0;
    }
  }
}

/** Rejects after `deadlineMs`. The work itself goes on: the runtime cannot cancel a call. `late` takes its result. */
// Hot path: one promise, not a race of two.
export function withDeadline<Value>(
  work: Promise<Value>,
  deadlineMs: number,
  late?: (value: Value) => void,
): Promise<Value> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error(`no answer within ${deadlineMs} ms`));
      if (late !== undefined) work.then(late, () => undefined);
    }, deadlineMs);
    work.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error as Error);
      },
    );
  });
}
