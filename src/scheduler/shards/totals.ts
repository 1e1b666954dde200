// How shards tell each other of what only adds up: service that flows have had, prefill that engines were sent.
//
//   shard ── its own totals ──▶ lead, which adds up what is new ── totals of all others ──▶ shard, which
//                                                                  takes what is new
//
// Totals and not differences: a message that is lost is made up for by the next one, and one that comes
// twice says nothing new. Whoever begins anew begins at 0 under another name: a total's life. Totals may
// fall, as service does that was reserved and not used.
//
// A total counts in full only where it is known to have begun at 0 since its teller was heard last. Where
// that is not known (a shard's first message to a lead, a total that was forgotten meanwhile) it is where one
// begins to count: what was done long ago must not weigh on anybody now.

/** Totals that a lead keeps. Those that have not changed for longest are forgotten. */
export const TOTALS_MAX = 8_192;
/** What has not changed for so long is told only to those who want everything. */
export const TOLD_AGAIN_MS = 5_000;

/** Plain: it travels between objects. */
export interface Total {
  readonly key: string;
  /** Another one: it began at 0 again. */
  readonly life: string;
  readonly total: number;
}

interface Part {
  life: string;
  told: number;
  sum: number;
}

interface Sum {
  readonly life: string;
  sum: number;
  readonly parts: Map<number, Part>;
  changedAtMs: number;
}

/** Who tells. */
export interface Teller {
  readonly shard: number;
  /** Random at each start of its object. */
  readonly epoch: string;
}

/** The lead's. */
export class TotalsOfAll {
  readonly #name: string;
  readonly #max: number;
  /** Those that changed longest ago first. */
  readonly #sums = new Map<string, Sum>();
  /** Of them those that changed within TOLD_AGAIN_MS, and perhaps some more, in the same order. */
  readonly #recent = new Map<string, Sum>();
  /** By shard: those whose first message was taken. As many as a pool has objects. */
  readonly #epochs = new Map<number, string>();
  #lives = 0;
  /** Some totals have been left out or forgotten: one that is not known may be old. */
  #hasForgotten = false;

  /** `name`: random at each start. */
  constructor(name: string, max = TOTALS_MAX) {
    this.#name = name;
    this.#max = max;
  }

  get size(): number {
    return this.#sums.size;
  }

  /** Takes all totals that a shard has; `life` of each is to be unlike those of its lives before. */
  told({ shard, epoch }: Teller, totals: readonly Total[], nowMs: number): void {
    const isFirst = this.#epochs.get(shard) !== epoch;
    this.#epochs.set(shard, epoch);
    if (totals.length > this.#max) this.#hasForgotten = true;
    for (const { key, life, total } of totals.slice(0, this.#max)) {
      if (!Number.isFinite(total)) continue;
      const known = this.#sums.get(key);
      const sum = known ?? this.#begin();
      const part = sum.parts.get(shard);
      let delta = total - (part?.life === life ? part.told : 0);
      if (isFirst || (part === undefined && this.#hasForgotten)) delta = 0;
      sum.parts.set(shard, { life, told: total, sum: (part?.sum ?? 0) + delta });
      if (delta === 0 && known !== undefined) continue;
      sum.sum += delta;
      this.#changed(key, sum, nowMs);
    }
    this.#forgetOldest();
  }

  /** Those of all other shards: all there are, or what has changed lately. */
  othersOf(shard: number, wantsAll: boolean, nowMs: number): Total[] {
    for (const [key, { changedAtMs }] of this.#recent) {
      if (nowMs - changedAtMs <= TOLD_AGAIN_MS) break;
      this.#recent.delete(key);
    }
    const totals: Total[] = [];
    for (const [key, { life, sum, parts }] of wantsAll ? this.#sums : this.#recent)
      totals.push({ key, life, total: sum - (parts.get(shard)?.sum ?? 0) });
    return totals;
  }

  #changed(key: string, sum: Sum, nowMs: number): void {
    sum.changedAtMs = nowMs;
    for (const sums of [this.#sums, this.#recent]) {
      sums.delete(key);
      sums.set(key, sum);
    }
  }

  #forgetOldest(): void {
    for (const [oldest] of this.#sums) {
      if (this.#sums.size <= this.#max) break;
      this.#sums.delete(oldest);
      this.#recent.delete(oldest);
      this.#hasForgotten = true;
    }
  }

  #begin(): Sum {
    this.#lives += 1;
    return { life: `${this.#name}.${this.#lives}`, sum: 0, parts: new Map(), changedAtMs: 0 };
  }
}

/** A shard's view of the others. */
export class TotalsOfOthers {
  #source = "";
  #heardAtMs = -Infinity;
  #known = new Map<string, Total>();
  /** Of what that lead has told. */
  #hasForgotten = false;
  readonly #max: number;

  constructor(max = TOTALS_MAX) {
    this.#max = max;
  }

  /** Whether the next answer should have everything: some may have been missed. */
  wantsAll(nowMs: number): boolean {
    return nowMs - this.#heardAtMs > TOLD_AGAIN_MS / 2;
  }

  /** Who said it last. */
  get source(): string {
    return this.#source;
  }

  /**
   * Takes an answer of the lead with that epoch. Gives by how much each total has changed; of a lead that
   * was not heard before nothing, for it is not known what of it is new.
   */
  heard(source: string, totals: readonly Total[], nowMs: number): Map<string, number> {
    const isNew = source !== this.#source;
    if (isNew) {
      this.#known = new Map();
      this.#hasForgotten = false;
    }
    this.#source = source;
    this.#heardAtMs = nowMs;
    const changes = new Map<string, number>();
    for (const total of totals.slice(0, this.#max)) {
      const known = this.#known.get(total.key);
      this.#known.delete(total.key);
      this.#known.set(total.key, total);
      if (isNew || (known === undefined && this.#hasForgotten)) continue;
      const change = total.total - (known?.life === total.life ? known.total : 0);
      if (change !== 0) changes.set(total.key, change);
    }
    for (const [oldest] of this.#known) {
      if (this.#known.size <= this.#max) break;
      this.#known.delete(oldest);
      this.#hasForgotten = true;
    }
    return changes;
  }
}
