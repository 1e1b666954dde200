// Among which pools a request was chosen, as its Worker said with the pick. It is told with the decision's
// record, and kept beside the records: it is no part of the decision, and a replay needs none of it.
//
// It travels and is kept as a text, because nearly all of them are never asked for: as objects they would be
// copied on either side of the call.

import { z } from "zod";
import { type ExplainedPool, poolSchema } from "./document.ts";
import { KeptTexts } from "./kept-texts.ts";
import { CHOICE_CANDIDATES_MAX, type PoolCandidate } from "../pools/contracts.ts";

/** The oldest go for new ones. A choice among three pools has about 500 characters. */
export const POOL_CHOICES_LIMITS = {
  textsMax: 2_048,
  charsMax: 1024 * 1024,
  charsPerTextMax: 8_192,
} as const;

const choiceSchema = z.array(poolSchema);

/** Numbers to a tenth: they are for people. */
export function encodeChoice(candidates: readonly PoolCandidate[]): string {
  return JSON.stringify(
    candidates.slice(0, CHOICE_CANDIDATES_MAX).map(({ pool, tier, state, terms, costMs }) => {
      const told: Record<string, number> = {};
      for (const name of Object.keys(terms)) told[name] = rounded(terms[name]!);
      return { pool, tier, state, terms: told, costMs: rounded(costMs) };
    }),
  );
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}

/** The latest choices. */
export class PoolChoices {
  readonly #texts = new KeptTexts(POOL_CHOICES_LIMITS);

  get size(): number {
    return this.#texts.size;
  }

  /** Takes the place of an earlier one about the same request. */
  add(requestId: string, choice: string): void {
    this.#texts.add(requestId, choice);
  }

  /** Undefined where none is kept, or the Worker was of a version that writes it otherwise. */
  find(requestId: string): readonly ExplainedPool[] | undefined {
    const choice = this.#texts.find(requestId);
    return choice === undefined ? undefined : decodeChoice(choice);
  }
}

function decodeChoice(choice: string): readonly ExplainedPool[] | undefined {
  try {
    return choiceSchema.safeParse(JSON.parse(choice)).data;
  } catch {
    // Not JSON.
    return undefined;
  }
}
