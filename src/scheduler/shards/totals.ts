// How shards tell each other of what only adds up: service that flows have had, work that engines were sent.
//
//   shard ── its own totals ──▶ lead, which adds up what is new ── totals of all others ──▶ shard, which
//                                                                  takes what is new
//
// Totals and not differences: a message that is lost is made up for by the next one, and one that comes
// twice says nothing new. Whoever begins anew begins at 0 under another name: a total's life. Totals may
// fall, as service does that was reserved and not used.

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

/** The lead's. */
export class TotalsOfAll {
  readonly #name: string;
  readonly #max: number;
  /** Those that changed longest ago first. */
  readonly #sums = new Map<string, Sum>();
  #lives = 0;

  /** `name`: random at each start. */
  constructor(name: string, max = TOTALS_MAX) {
    this.#name = name;
    this.#max = max;
  }

  get size(): number {
    return this.#sums.size;
  }

  /** Takes a shard's totals; `life` of each is to be unlike those of its lives before. */
  told(shard: number, totals: readonly Total[], nowMs: number): void {
    for (const { key, life, total } of totals.slice(0, this.#max)) {
      if (!Number.isFinite(total)) continue;
      const sum = this.#sums.get(key) ?? this.#begin();
      const part = sum.parts.get(shard) ?? { life, told: 0, sum: 0 };
      const delta = part.life === life ? total - part.told : total;
      sum.parts.set(shard, part);
      part.life = life;
      part.told = total;
      if (delta === 0 && this.#sums.has(key)) continue;
      part.sum += delta;
      sum.sum += delta;
      sum.changedAtMs = nowMs;
      this.#sums.delete(key);
      this.#sums.set(key, sum);
    }
    for (const [oldest] of this.#sums) {
      if (this.#sums.size <= this.#max) break;
      this.#sums.delete(oldest);
    }
  }

  /** Those of all other shards: all there are, or what has changed lately. */
  othersOf(shard: number, wantsAll: boolean, nowMs: number): Total[] {
    const totals: Total[] = [];
    for (const [key, { life, sum, parts, changedAtMs }] of this.#sums) {
      if (!wantsAll && nowMs - changedAtMs > TOLD_AGAIN_MS) continue;
      totals.push({ key, life, total: sum - (parts.get(shard)?.sum ?? 0) });
    }
    return totals;
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
    if (isNew) this.#known = new Map();
    this.#source = source;
    this.#heardAtMs = nowMs;
    const changes = new Map<string, number>();
    for (const total of totals.slice(0, TOTALS_MAX)) {
      const known = this.#known.get(total.key);
      this.#known.delete(total.key);
      this.#known.set(total.key, total);
      if (isNew) continue;
      const change = total.total - (known?.life === total.life ? known.total : 0);
      if (change !== 0) changes.set(total.key, change);
    }
    for (const [oldest] of this.#known) {
      if (this.#known.size <= TOTALS_MAX) break;
      this.#known.delete(oldest);
    }
    return changes;
  }
}
