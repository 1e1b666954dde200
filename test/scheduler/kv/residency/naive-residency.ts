// What content endpoints hold, from maps of sets and without bounds: the oracle of ContentResidency.

import { type Holding, NOT_HELD } from "../../../../src/scheduler/kv/residency/holding.ts";

/** A prompt by names of its blocks; a name stands for the whole path to it. */
export interface NaivePrompt {
  readonly contents: readonly string[];
  readonly tokens: readonly string[];
  readonly ends: readonly number[];
}

interface Known {
  end: number;
  /** All of these for an end above 0, any otherwise. */
  tokens: string[];
}

export class NaiveResidency {
  readonly #known = new Map<string, Known>();
  /** By `slot/token`. */
  readonly #holdings = new Map<string, Holding>();

  held(slot: number, token: string, holding: Holding): void {
    this.#holdings.set(`${slot}/${token}`, holding);
  }

  learn({ contents, tokens, ends }: NaivePrompt): void {
    if (tokens.length === 0) return;
    const agreed = contents.map((content, i) => {
      const known = this.#known.get(content);
      const end = Math.min(ends[i]!, tokens.length);
      // The token block known last stands at the same place: the prompts agree up to there.
      const isAgreed = known?.tokens.at(-1) === tokens[Math.max(0, (known?.end ?? 0) - 1)];
      return isAgreed ? Math.min(end, known!.end) : end;
    });
    for (let i = agreed.length - 2; i >= 0; i--) {
      agreed[i] = Math.min(agreed[i]!, agreed[i + 1]!);
    }
    for (const [i, content] of contents.entries()) {
      const end = agreed[i]!;
      const from = i === 0 ? 0 : agreed[i - 1]!;
      if (end > 0) {
        const span = tokens.slice(Math.min(from, end - 1), end);
        this.#known.set(content, { end, tokens: span });
        continue;
      }
      const known = this.#known.get(content);
      const others = known?.end === 0 ? known.tokens : [];
      const first = tokens[0]!;
      if (!others.includes(first)) this.#known.set(content, { end, tokens: [...others, first] });
    }
  }

  /** Token blocks that a slot holds and that any content needs. */
  heldKnown(slot: number): number {
    const needed = new Set([...this.#known.values()].flatMap(({ tokens }) => tokens));
    return [...needed].filter((token) => {
      return (this.#holdings.get(`${slot}/${token}`) ?? NOT_HELD) !== NOT_HELD;
    }).length;
  }

  /** What is held, by `slot/content`. */
  holdings(slots: number): Map<string, Holding> {
    const all = new Map<string, Holding>();
    for (const [content, { end, tokens }] of this.#known) {
      for (let slot = 0; slot < slots; slot++) {
        const each = tokens.map((token) => this.#holdings.get(`${slot}/${token}`) ?? NOT_HELD);
        const holding = (end > 0 ? Math.min(...each) : Math.max(...each)) as Holding;
        if (holding !== NOT_HELD) all.set(`${slot}/${content}`, holding);
      }
    }
    return all;
  }
}
